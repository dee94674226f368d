"""Tests a second time: over Spark Connect, from a process that has no Java.

::

    again -> server.py    Spark, in processes of its own
          -> pytest       the client, which `client.py` makes one before it imports a test

``scripts/connect`` runs all that there is to run so. The suite runs a part of it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.connect.server import ROOT, environment, running

#: Where tests have a session and no more: calls as stages, what estimators do, predictions, shards,
#: Spark ML, searches, MLflow.
EVERYTHING = (
    "tests/automl",
    "tests/data",
    "tests/driver",
    "tests/learn",
    "tests/ml",
    "tests/mlflow",
)


def command(url: str, *arguments: str) -> list[str]:
    """Return the words that run tests on a server; the arguments are pytest's."""
    plugin = ["-p", "no:cacheprovider", "-p", "tests.connect.client"]
    return [sys.executable, "-m", "pytest", *plugin, "--connect", url, *arguments]


class NoJava:
    """An environment on whose PATH `java` leaves a trace.

    Parameters
    ----------
    directory : Path
        For the program and its trace.
    """

    def __init__(self, directory: Path) -> None:
        self._called = directory / "called"
        java = directory / "bin" / "java"
        java.parent.mkdir()
        java.write_text(f"#!/bin/sh\ntouch {self._called}\nexit 1\n")
        java.chmod(0o755)
        kept = {
            name: value
            for name, value in environment().items()
            if name != "JAVA_HOME" and not name.startswith("PYTEST_")
        }
        self.variables = kept | {"PATH": f"{java.parent}{os.pathsep}{kept['PATH']}"}

    @property
    def was_started(self) -> bool:
        """Whether somebody has called it."""
        return self._called.exists()


def main(arguments: Sequence[str]) -> int:
    """Run the tests that the arguments name, or all; return pytest's exit status."""
    with tempfile.TemporaryDirectory() as directory:
        java = NoJava(Path(directory))
        with running(Path(directory)) as url:
            named = arguments or EVERYTHING
            # no limit: each test has its own
            status = subprocess.run(command(url, *named), cwd=ROOT, env=java.variables).returncode
        if java.was_started:
            print("java was started", file=sys.stderr)
        return status or int(java.was_started)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
