"""An archive of Spark's classes, parsed and verified, so that later drivers start sooner.

A JVM that starts Spark loads and verifies some twenty thousand classes from 250 jars. That takes a
good part of the time until the first job ends. Java can map the classes from an archive instead
("class data sharing", JEP 310 and 350)::

    first program    its JVM lists the classes that it loads   KEY.<random>.classes
    after its end    a process of the lowest priority makes    KEY.jsa
    later programs   their JVMs map it

The key stands for all that an archive depends on: the Java, and the jars and directories on the
class path. A JVM checks the same itself, and ignores an archive that does not fit. If no later
program would find an archive (`zoo.orca.context.class_archive_place`), Orca makes none and writes
nothing. It still uses one that is there.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.orca.context import class_archive_maker
from zoo.orca.context.class_archive_place import reason_against

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway

    from zoo.orca.context.java import Java

SETTING = "spark.orca.class.archive"

# What Spark's launcher reads that changes the class path.
_VARIABLES = (
    "SPARK_CONF_DIR",
    "SPARK_DIST_CLASSPATH",
    "HADOOP_CONF_DIR",
    "YARN_CONF_DIR",
)
_CONFIGURATION = ("spark-defaults.conf", "spark-env.sh")
_UNUSED_DAYS = 30
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ClassArchive:
    """The archive for one Java and one Spark; it may not exist yet.

    Attributes
    ----------
    path : Path
        Its path.
    java : Path
        The executable it is for.
    classes : Path or None
        Where the JVM lists the classes it loads. None if the archive exists, or making it failed.
    """

    path: Path
    java: Path
    classes: Path | None

    def java_options(self) -> str:
        """Return the JVM's command-line options."""
        if self.classes is not None:
            return f'"-XX:DumpLoadedClassList={self.classes}"'
        if self.path.exists():
            # A JVM that cannot use it runs without it, silently.
            return f'"-XX:SharedArchiveFile={self.path}" -Xlog:cds*=off'
        return ""

    def make_after(self, gateway: JavaGateway) -> None:
        """Have the archive made after this program and its JVM end, if there is none yet."""
        jvm = getattr(gateway, "proc", None)
        if self.classes is not None and jvm is not None:
            # A JVM that Spark's launcher refused to start would not answer.
            class_path = gateway.jvm.java.lang.System.getProperty("java.class.path")
            _logger.info(
                "when this program has ended, an archive of Spark's classes (some 200 MB) is made "
                "at %s, from which later programs start sooner; %s=false in conf= of "
                "init_orca_context switches it off",
                self.path,
                SETTING,
            )
            atexit.register(self._start_maker, os.getpid(), jvm.pid, class_path)

    def _start_maker(self, program: int, jvm: int, class_path: str) -> None:
        """Start the process that makes the archive, detached: this process is about to end.

        A caller that reads this program's output to its end must not wait for the maker.
        """
        if os.getpid() != program:  # a forked child, which ends before the program
            return
        if self.path.exists() or class_archive_maker.is_locked(self.path):
            # If programs end together, the first one's maker is enough.
            with contextlib.suppress(OSError):
                Path(str(self.classes)).unlink()
            return
        maker = class_archive_maker.__file__
        arguments = [str(self.path), str(self.classes), str(self.java), class_path, str(jvm)]
        with contextlib.suppress(OSError):  # no archive, then: no program depends on it
            subprocess.Popen(
                [sys.executable, "-I", maker, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )


def find_class_archive(
    java: Java,
    spark_home: Path,
    conf: Mapping[str, str],
    environ: Mapping[str, str] = os.environ,
) -> ClassArchive | None:
    """Return the archive for a JVM that is about to start; None if there can be none.

    Parameters
    ----------
    java : Java
        What the JVM will run on.
    spark_home : Path
        Spark's directory.
    conf : Mapping
        Spark's configuration. With ``spark.orca.class.archive=false`` there is no archive; with
        ``true`` one is made wherever this program runs.
    environ : Mapping
        The environment that the JVM will start in.
    """
    wanted = conf.get(SETTING, "").strip().lower()
    if wanted == "false" or not java.shares_classes:
        return None
    try:
        directory = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo-orca"
        against = "" if wanted == "true" else reason_against(directory, environ)
        if against:
            _logger.info(
                "no archive of Spark's classes is made: %s; %s=true asks for one", against, SETTING
            )
        else:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Classes are code. Take none from another user's directory.
        if directory.stat().st_uid != os.getuid() or not os.access(directory, os.W_OK):
            return None
        path = directory / f"{_key(java, spark_home, conf, environ)}.jsa"
        if not against:
            _keep_in_order(path)
    except (OSError, RuntimeError):  # RuntimeError: a container's user may have no home at all
        return None
    needless = path.exists() or class_archive_maker.failure_of(path).exists()
    classes = None if needless or against else path.with_suffix(f".{uuid.uuid4().hex}.classes")
    return ClassArchive(path=path, java=java.home / "bin" / "java", classes=classes)


def _key(java: Java, spark_home: Path, conf: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Return a key that differs for archives that must not be confused."""
    settings = Path(environ.get("SPARK_CONF_DIR") or spark_home / "conf")
    known = [
        java.home,
        java.description,
        conf.get("spark.driver.extraClassPath"),
        *(environ.get(name) for name in _VARIABLES),
        *_marks([settings / name for name in _CONFIGURATION]),
        *_marks(sorted((spark_home / "jars").iterdir())),
    ]
    return hashlib.sha256("\n".join(map(str, known)).encode()).hexdigest()[:20]


def _marks(files: Iterable[Path]) -> Iterable[str]:
    """Yield the name, size and time of each file that exists."""
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            found = file.stat()
            yield f"{file} {found.st_size} {found.st_mtime_ns}"


def _keep_in_order(path: Path) -> None:
    """Mark an archive as used; remove unused ones and leftovers.

    Killed programs and makers leave lists, partial archives and locks.
    """
    now = time.time()
    kept = {".jsa": _UNUSED_DAYS, ".failed": _UNUSED_DAYS, ".classes": 1, ".part": 1, ".lock": 1}
    if path.exists():
        os.utime(path)
    for suffix, days in kept.items():
        for file in path.parent.glob(f"*{suffix}"):
            with contextlib.suppress(FileNotFoundError):  # another program was faster
                if now - file.stat().st_mtime > days * 86400:
                    file.unlink()
