"""A cluster that encrypts its own connections: Orca's are encrypted, too, with nothing said."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import standalone

ROOT = Path(__file__).parents[2]
SECRET = "only-of-the-tests"

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_fit_is_encrypted_as_the_cluster_is_and_equals_one_in_clear(tmp_path: Path) -> None:
    options = (
        f"-Dspark.authenticate=true -Dspark.authenticate.secret={SECRET} "
        "-Dspark.network.crypto.enabled=true"
    )
    with standalone.running(tmp_path, daemon_options=options) as cluster:
        command = [sys.executable, str(Path(__file__).with_name("encrypted_program.py"))]
        command += [str(ROOT / "src"), str(ROOT), cluster.url, SECRET]
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=180,
            env=standalone.driver_environment(),
            cwd=tmp_path,
        )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told[""] == told["false"]
    assert len(told[""][1]) == 3
