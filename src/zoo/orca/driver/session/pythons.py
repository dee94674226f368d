"""The workers' Python: which one it is, what it lacks, and how to choose another.

Spark starts the Python that ``PYSPARK_PYTHON`` names, else the first ``python3`` on the executors'
PATH. If a virtual environment is not activated, that one lacks pyarrow. On this machine workers
therefore run this program's own Python, unless the user chose another.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.cluster import is_connect, is_local
from zoo.orca.driver.session.settings import full_traceback
from zoo.orca.errors import ContextError, MissingPackageError, OrcaError
from zoo.orca.wire.job import FULL_TRACEBACK
from zoo.orca.wire.paths import LAST_PATHS, own_paths

#: What pyspark takes if no Python was chosen.
_NO_CHOICE = "python3"
#: What a task imports before it can report anything; it reports all else that is missing.
_NEEDED = ("numpy", "pyarrow")
#: Runs on any Python and describes it.
_QUESTION = f"""
import json, sys
told = {{"executable": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3],
        "prefix": sys.prefix}}
try:
    from importlib.util import find_spec
    told["lacks"] = [name for name in {_NEEDED!r} if find_spec(name) is None]
except ImportError:
    told["lacks"] = []
answer = json.dumps(told)
"""
_QUESTION_SECONDS = 30
#: The Pythons of this machine that can do the work, by the names that were chosen.
_fit: "dict[str, Python]" = {}
#: Held while a session's attribute is changed to wrap a function for the workers.
_wrapping = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """A Python that workers run.

    Parameters
    ----------
    executable, version, prefix : str
    lacks : tuple of str
        Packages that every task needs and that are missing.
    host : str
        The machine, if it is not this one.
    """

    executable: str
    version: str
    prefix: str = ""
    lacks: tuple[str, ...] = ()
    host: str = ""

    def __str__(self) -> str:
        host = f" on {self.host}" if self.host else ""
        return f"{self.executable} ({self.version}{host})"


@contextlib.contextmanager
def workers_python(spark: SparkSession) -> Iterator[None]:
    """Give functions that are wrapped in the block this program's own Python.

    This applies only if workers run on this machine and no other Python was chosen. pyspark reads
    the session's ``pythonExec`` when it wraps a function. The old value is restored, because the
    session may be the user's, whose other functions keep their Python.
    """
    if not is_local(spark) or not sys.executable:
        yield
        return
    context = spark.sparkContext
    with _wrapping:
        before = context.pythonExec
        if before == _NO_CHOICE:
            context.pythonExec = sys.executable
        try:
            yield
        finally:
            context.pythonExec = before


def keep_own_python(spark: SparkSession) -> None:
    """Give functions that Spark itself wraps later this program's own Python, where need be.

    `spark.udf.register` wraps a function anew, outside of any block of `workers_python`. A Python
    that was chosen stays, and so does one that can do the work.
    """
    if not is_local(spark) or not sys.executable:
        return
    context = spark.sparkContext
    if context.pythonExec == _NO_CHOICE and not _is_own(_ask(_NO_CHOICE)):
        context.pythonExec = sys.executable


def is_own_python(spark: SparkSession) -> bool:
    """Whether workers certainly run this program's own Python, with the same packages."""
    if not is_local(spark):
        return False
    chosen = spark.sparkContext.pythonExec
    return chosen in (_NO_CHOICE, sys.executable) or _is_own(_ask(chosen))


def check_python(spark: SparkSession) -> None:
    """Refuse an unfit Python that the user chose for the workers of this machine.

    Raises
    ------
    ContextError
        If it does not run, or has another version.
    MissingPackageError
        If it lacks what every task needs.
    """
    if not is_local(spark):
        return
    chosen = spark.sparkContext.pythonExec
    if chosen in (_NO_CHOICE, sys.executable):
        return
    found = _ask(chosen)
    if found is None:
        raise cannot_start(spark, chosen)
    if _is_own(found):
        return
    if _minor(found.version) != _minor(_own_version()):
        raise other_version(spark, found)
    if found.lacks:
        raise lacks_packages(spark, found, found.lacks)


def cannot_start(spark: SparkSession, executable: str, why: str = "") -> OrcaError:
    """Return the error for a Python that does not start on the workers."""
    named = f", {executable}," if executable else ""
    reason = f": {why}" if why else ""
    return ContextError(f"the workers' Python{named} cannot be started{reason}\n{_way_out(spark)}")


def other_version(spark: SparkSession, found: Python | str) -> OrcaError:
    """Return the error for a Python of another version than this program's."""
    return ContextError(
        f"the workers' Python is {found}, and this program's is {_own_version()}: they must be of "
        f"one version\n{_way_out(spark)}"
    )


def lacks_packages(spark: SparkSession, found: Python | None, packages: Sequence[str]) -> OrcaError:
    """Return the error for a Python that lacks packages."""
    return MissingPackageError(
        f"the workers' Python{_named(found)} has no {' and no '.join(packages)}\n"
        f"{_way_out(spark)}{_or_install(found, packages)}"
    )


def unfit_package(spark: SparkSession, found: Python | None, why: str) -> OrcaError:
    """Return the error for a Python whose packages Spark cannot use."""
    return MissingPackageError(f"the workers' Python{_named(found)}: {why}\n{_way_out(spark)}")


def _named(found: Python | None) -> str:
    return f", {found}," if found else ""


def _or_install(found: Python | None, packages: Sequence[str]) -> str:
    python = found.executable if found else "its python"
    return f". Or install there what is missing: {python} -m pip install {' '.join(packages)}"


def ask_worker(spark: SparkSession) -> Python | None:
    """Return the Python of one worker, as the worker describes it; None if it cannot.

    This runs a separate job, after another one has failed.
    """

    def tell(question: str) -> str:
        # Travels by value and uses only built-ins: the worker may lack this package.
        import os

        known: dict[str, str] = {}
        exec(question, known)
        return known["answer"][:-1] + f', "host": "{os.uname().nodename}"' + "}"

    function = F.udf(tell, "string", useArrow=False)
    try:
        with workers_python(spark):
            frame = spark.range(0, 1, 1, 1).select(function(F.lit(_QUESTION)).alias("told"))
        told = frame.collect()[0]["told"]
    except spark_errors():  # the first job's failure says more
        return None
    return _read(told)


def own_versions(package: str) -> set[str]:
    """Return the versions of a package that are installed here, without importing it."""
    if package == "python":
        return {_own_version()}
    found = set()
    for build in ("", "-cpu", "-gpu", "-macos", "-client", "-connect"):
        with contextlib.suppress(PackageNotFoundError):
            # After the plus comes the build, such as cpu.
            found.add(version(f"{package}{build}").partition("+")[0])
    return found


def child_environment(spark: SparkSession) -> dict[str, str]:
    """Return the environment variables for every job's children.

    They say how much of a traceback the user wants to see. On this machine they also let children
    find the modules that this program finds.
    """
    environment = {FULL_TRACEBACK: "1"} if full_traceback(spark) else {}
    if is_local(spark) or is_local_server(spark):
        environment[LAST_PATHS] = os.pathsep.join(own_paths())
    return environment


def is_local_server(spark: SparkSession) -> bool:
    """Whether this program started the session's Spark Connect server, on this machine."""
    return is_connect(spark) and "SPARK_LOCAL_REMOTE" in os.environ


def _way_out(spark: SparkSession) -> str:
    if is_local(spark) or is_local_server(spark):
        return (
            "Before the session starts, set PYSPARK_PYTHON to this program's Python: "
            f"os.environ['PYSPARK_PYTHON'] = {sys.executable!r}"
        )
    where = "Start the Spark Connect server with" if is_connect(spark) else "Start the session with"
    return (
        f"{where} PYSPARK_PYTHON=<a Python {_minor(_own_version())} on the workers, with pyarrow, "
        "numpy and the model's framework>"
    )


def _is_own(found: Python | None) -> bool:
    return found is not None and found.prefix == sys.prefix


def _ask(executable: str) -> Python | None:
    """Return how a Python of this machine describes itself; None if it does not run.

    Only a Python that can do the work is asked once: another one may be mended before the next
    call.
    """
    if executable in _fit:
        return _fit[executable]
    found = _asked(executable)
    if found is not None and not found.lacks and _minor(found.version) == _minor(_own_version()):
        _fit[executable] = found
    return found


def _asked(executable: str) -> Python | None:
    """Run a Python to let it describe itself; return None if it does not."""
    found = shutil.which(executable)
    if found is None:
        return None
    command = [found, "-c", f"{_QUESTION}\nprint(answer)"]
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=_QUESTION_SECONDS, check=True
        )
        return _read(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None  # it does not run, or is no Python: its output is something else


def _read(told: str) -> Python:
    values = json.loads(told)
    return Python(**{**values, "lacks": tuple(values["lacks"])})


def _own_version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
