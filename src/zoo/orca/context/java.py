"""The Java that Spark runs on: found, checked, and started without its start-up chatter.

This file imports pyspark only when it starts a JVM.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from zoo.orca.errors import ContextError

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway
    from pyspark import SparkConf

OLDEST = 17

_HOW_TO_INSTALL = f"""Install Java {OLDEST} or newer with one of
  apt-get install -y openjdk-17-jre-headless    (Debian, Ubuntu)
  dnf install -y java-17-openjdk-headless       (Fedora, RHEL)
  brew install openjdk@17                       (macOS)
or point JAVA_HOME at one."""

# Where package managers put a Java that is not on PATH. Homebrew's never is on PATH, and on Linux
# an older one may come first.
_USUAL_PLACES = (
    "/usr/lib/jvm/*",
    "/opt/homebrew/opt/openjdk*",
    "/usr/local/opt/openjdk*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
)

#: With more, the compiler has processors that nobody else wants.
_FEW_PROCESSORS = 4
#: Ten times HotSpot's own numbers: calls, calls of what has loops, both together, and turns.
_LATER = (
    "-XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
    "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
)

# A healthy JVM prints these lines before it reads a logging configuration. No flag disables them.
_CHATTER = (
    b"WARNING: Using incubator modules: jdk.incubator.vector",
    b"WARNING: package sun.security.action not in java.base",
    b"Picked up JAVA_TOOL_OPTIONS:",
    b"Picked up _JAVA_OPTIONS:",
    b"NOTE: Picked up JDK_JAVA_OPTIONS:",
)


@dataclass(frozen=True, kw_only=True)
class Java:
    """One Java on this machine.

    Attributes
    ----------
    home : Path
        The directory for ``JAVA_HOME``.
    version : int
        Its feature release, such as 17.
    description : str
        What ``java -version`` prints.
    """

    home: Path
    version: int
    description: str = ""

    @property
    def shares_classes(self) -> bool:
        """Whether it is a HotSpot that maps classes from its own archive, so from ours, too."""
        return bool(re.search(r"(OpenJDK|HotSpot\(TM\)) 64-Bit .*\bsharing\b", self.description))

    def compiler_options(self, processors: int) -> str:
        """Return the options that keep its second compiler from a program's start.

        HotSpot compiles a second time what has run some thousand times. Spark's start runs much
        code as often and hardly more, and on few processors the compiler takes them from it: half
        of the JVM's time in a first program. What a query does for each row runs ten times as often
        within the first second.

        Parameters
        ----------
        processors : int
            Those that the JVM may use.
        """
        is_hotspot = re.search(r"(OpenJDK|HotSpot\(TM\)) 64-Bit Server VM", self.description)
        return _LATER if is_hotspot and processors <= _FEW_PROCESSORS else ""


def find_java(
    environ: Mapping[str, str] = os.environ, places: Iterable[str] = _USUAL_PLACES
) -> Java:
    """Find a Java that Spark can use.

    It looks at ``JAVA_HOME`` first, then ``PATH``, then where package managers put one.

    Parameters
    ----------
    environ : Mapping
        The environment whose ``JAVA_HOME`` and ``PATH`` count.
    places : Iterable of str
        Glob patterns of further Java homes.

    Returns
    -------
    Java
        The first one that is new enough.

    Raises
    ------
    ContextError
        If there is none; the message gives the commands that install one.
    """
    tried: list[str] = []
    for home in _homes(environ, places):
        description = _description(home / "bin" / "java")
        version = _version(description)
        if version is not None and version >= OLDEST:
            return Java(home=home, version=version, description=description)
        tried.append(f"{home} ({'does not run' if version is None else f'Java {version}'})")
    if tried:
        found = f"none of the Java found here is new enough: {', '.join(tried)}"
    else:
        found = "none was found (JAVA_HOME is not set and there is no java on PATH)"
    raise ContextError(f"Spark needs Java {OLDEST} or newer, and {found}\n{_HOW_TO_INSTALL}")


def _homes(environ: Mapping[str, str], places: Iterable[str]) -> Iterable[Path]:
    """Yield the Java homes worth a look, best first and each once."""
    candidates: list[Path] = []
    if environ.get("JAVA_HOME"):
        candidates.append(Path(environ["JAVA_HOME"]))
    on_path = shutil.which("java", path=environ.get("PATH", ""))
    if on_path:
        candidates.append(Path(on_path).resolve().parent.parent)
    for pattern in places:
        matches = Path("/").glob(pattern.lstrip("/"))
        candidates.extend(sorted(match for match in matches if (match / "bin" / "java").exists()))
    return dict.fromkeys(candidates)


def _description(java: Path) -> str:
    """Return what ``java -version`` prints; an empty string if it does not run."""
    try:
        # macOS ships a /usr/bin/java that only says where to buy one, and exits with an error.
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stderr + answer.stdout


def _version(description: str) -> int | None:
    """Return the feature release in a description; None if it has none."""
    match = re.search(r'version "(?:1\.)?(\d+)', description)
    return int(match[1]) if match else None


def start_gateway(conf: SparkConf, *, log_output: bool = False) -> JavaGateway:
    """Start the JVM that holds the Spark driver and return pyspark's gateway to it.

    A thread passes the JVM's standard error on, without the lines that every JVM prints at start.

    Parameters
    ----------
    conf : SparkConf
        What the JVM must know before it starts, such as its memory.
    log_output : bool
        Write to Python's ``sys.stderr``, which a notebook shows, instead of the process's own
        standard error.

    Raises
    ------
    ContextError
        If the JVM ends before Spark answers; the message has its last lines.
    """
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway

    readable, writable = os.pipe()
    last_lines: deque[str] = deque(maxlen=20)
    forwarder = threading.Thread(
        target=_forward,
        args=(os.fdopen(readable, "rb"), _to_notebook if log_output else _to_terminal, last_lines),
        name="orca-jvm-stderr",
        daemon=True,
    )
    forwarder.start()
    try:
        return launch_gateway(  # type: ignore[no-untyped-call]
            conf=conf, popen_kwargs={"stderr": writable}
        )
    except PySparkRuntimeError as error:
        os.close(writable)
        writable = -1
        forwarder.join(timeout=5)
        raise ContextError(
            f"Java ended before Spark had started. Its last lines:\n{''.join(last_lines)}"
        ) from error
    except KeyboardInterrupt as interrupt:
        # A JVM that finds nobody to tell its port would never end. Only pyspark's frame knows it.
        for frame, _ in traceback.walk_tb(interrupt.__traceback__):
            process = frame.f_locals.get("proc")
            if isinstance(process, subprocess.Popen):
                end(process)
        raise
    finally:
        if writable >= 0:
            os.close(writable)


def end(jvm: subprocess.Popen[bytes]) -> None:
    """Kill a JVM whose start was interrupted."""
    jvm.kill()
    jvm.wait()
    if jvm.stdin is not None:
        jvm.stdin.close()


def _forward(stream: BinaryIO, write: Callable[[bytes], object], last_lines: deque[str]) -> None:
    """Pass a JVM's standard error on until the JVM ends."""
    with stream:
        for line in stream:
            if not line.startswith(_CHATTER):
                last_lines.append(line.decode(errors="replace"))
                write(line)


def _to_terminal(line: bytes) -> None:
    """Write to the process's standard error, as an inherited stream would."""
    os.write(2, line)


def _to_notebook(line: bytes) -> None:
    """Write to Python's ``sys.stderr``, which may be replaced."""
    sys.stderr.write(line.decode(errors="replace"))
