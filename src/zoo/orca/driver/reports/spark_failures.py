"""Reads the text of Spark's failures: pages of a Java stack, or a plan and one line.

Classic Spark and Spark Connect report the same failure in different words, and neither puts the
cause first. Everything here is a function of that text; `failures.py` tells the user.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from pyspark.errors import PySparkException


class Kind(Enum):
    """Kinds of failure; each has its own way out."""

    SLOTS = auto()
    SHARD = auto()
    NO_SUCH_PYTHON = auto()
    OTHER_PYTHON = auto()
    BROKEN_PYTHON = auto()
    MODULE = auto()
    PACKAGE = auto()
    FUNCTION = auto()
    DIED = auto()
    CANCELLED = auto()
    STOPPED = auto()
    LOST = auto()
    DISK = auto()
    SPARK = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkFailure:
    """One failure, read.

    Parameters
    ----------
    kind : Kind
    message : str
        The sentence or name that gives the cause.
    detail : str
        Goes below it: where a function of the user failed, or where a column's expression is.
    """

    kind: Kind
    message: str
    detail: str = ""


#: Ends the message; Spark Connect appends the server's stack after it.
_SERVER_STACK = "\nJVM stacktrace:"
_STATE = re.compile(r"\s*SQLSTATE: \w+")
_LAST_STATE = re.compile(r"\s*SQLSTATE: \w+\s*\Z")
_EXCEPTION = re.compile(r"^(Caused by: )?\(?(\w+\.)*\w*(Exception|Error|Failed)(:|\)) ?")
_CONDITION = re.compile(r"\[[A-Z][A-Z0-9_.]+\] ")
_CALLED_FROM = re.compile(r'^("\w+" was called from)\n(\S.*)$', re.MULTILINE)
_TRACEBACK = "Traceback (most recent call last):\n"
#: Where a worker's Python error ends and the JVM's text goes on.
_JVM_GOES_ON = re.compile(r"\n( SQLSTATE: |\tat |Caused by: |\t\.\.\. |Driver stacktrace:|$)")
#: A task raised it, or an expression of Orca's, whose text Spark puts behind its own condition.
_ORCAS = re.compile(r"^(?:.*(?:: |\] ))?zoo\.orca\.errors\.(?P<kind>\w+): ", re.MULTILINE)
_FRAME = re.compile(r'^ *File "(?P<path>.*)", line \d+, in .*$')
_SPARKS_OWN = re.compile(r"[/\\]pyspark(\.zip)?[/\\]|[/\\]zoo[/\\]orca[/\\]|^<frozen ")
#: Words and their kinds. The first match counts: an interrupted job's text has several.
_WORDS = (
    ("SPARK-24819", Kind.SLOTS),
    ("SparkContext was shut down", Kind.STOPPED),
    ("Channel closed!", Kind.STOPPED),
    ("[SPARK_JOB_CANCELLED]", Kind.CANCELLED),
    ("[OPERATION_CANCELED]", Kind.CANCELLED),
    ("Python worker exited unexpectedly", Kind.DIED),
)
#: How Java tells that a file cannot be written.
_NO_DISK = ("No space left on device", "Disk quota exceeded", "Read-only file system")
#: How Java tells that a Python process, to which it writes or from which it reads, is gone.
_PIPE_ENDED = re.compile(
    r"\b(java\.io\.EOFException|Connection reset|Connection reset by peer|Broken pipe)$"
)
#: What a task raises for a shard on which a function failed. The user's frames are in it.
_SHARD = re.compile(r"\bzoo\.orca\.errors\.ShardError: (?P<told>.+)", re.DOTALL)
_CONNECTION = re.compile(r'status = StatusCode\.\w+\s+details = "(.*)"')


def spark_errors() -> tuple[type[Exception], ...]:
    """Return what a call to Spark raises: its errors, and those of the connection to its JVM."""
    # Only classic Spark has py4j; with Spark Connect there is no JVM on this side.
    try:
        from py4j.protocol import Py4JError
    except ImportError:
        return PySparkException, ConnectionError
    return PySparkException, ConnectionError, Py4JError


def read_error(error: Exception) -> SparkFailure:
    """Return what went wrong in a call to Spark that raised `error`."""
    kind = type(error).__name__
    # A JVM that dies while it is asked leaves py4j without an answer and without Java's text.
    silent = kind == "Py4JError" and "\n" not in str(error)
    if isinstance(error, ConnectionError) or kind == "Py4JNetworkError" or silent:
        return SparkFailure(kind=Kind.LOST, message=str(error))
    return read_failure(str(error))


def raised_by_orca(text: str) -> tuple[str, str] | None:
    """Return the class and the message of an error of Orca's that ended a task, if one did."""
    text = text.partition(_SERVER_STACK)[0]
    if not (found := list(_ORCAS.finditer(text))):
        return None
    told = _JVM_GOES_ON.split(text[found[-1].end() :])[0]
    return found[-1]["kind"], _LAST_STATE.sub("", told).strip()


def read_failure(text: str) -> SparkFailure:
    """Return what the text of a failed job says."""
    for words, kind in _WORDS:
        if words in text:
            return SparkFailure(kind=kind, message=_sentence(text))
    if found := _SHARD.search(text):
        return SparkFailure(kind=Kind.SHARD, message=_JVM_GOES_ON.split(found["told"])[0].rstrip())
    if found := _CONNECTION.search(text):
        return SparkFailure(kind=Kind.LOST, message=found[1])
    if failure := _of_python(text):
        return failure
    message = _sentence(text)
    # Java puts the cause behind the file, in parentheses.
    kind = Kind.DISK if message.rstrip(")").endswith(_NO_DISK) else Kind.SPARK
    if _PIPE_ENDED.search(message):
        kind = Kind.DIED
    return SparkFailure(kind=kind, message=message, detail=_called_from(text))


def _of_python(text: str) -> SparkFailure | None:
    """Return what is wrong with the workers' Python, or what a function raised there."""
    if found := re.search(r'Cannot run program "([^"]+)"', text):
        return SparkFailure(kind=Kind.NO_SUCH_PYTHON, message=found[1])
    if found := re.search(r"different version: (\S+) than that in driver: (\d+\.\d+)", text):
        return SparkFailure(kind=Kind.OTHER_PYTHON, message=found[1])
    if found := re.search(r"Error from python worker:\n((?: .*\n)+)", text):
        return SparkFailure(
            kind=Kind.BROKEN_PYTHON, message=found[1].strip().rpartition("\n")[2].strip()
        )
    if found := re.search(r"\[(?:UNSUPPORTED_PACKAGE_VERSION|PACKAGE_NOT_INSTALLED)\] (.*)", text):
        return SparkFailure(kind=Kind.PACKAGE, message=_STATE.sub("", found[1]))
    if _TRACEBACK not in text:
        return None
    told = text.rpartition(_TRACEBACK)[2]
    frames, error = _frames_and_error(_JVM_GOES_ON.split(told)[0])
    if not frames and (found := re.match(r"ModuleNotFoundError: No module named '([^']+)'", error)):
        return SparkFailure(kind=Kind.MODULE, message=found[1])
    return SparkFailure(kind=Kind.FUNCTION, message=error, detail=frames)


def _frames_and_error(traceback: str) -> tuple[str, str]:
    """Return the user's frames of a Python traceback, and the exception."""
    kept: list[str] = []
    lines = traceback.splitlines()
    is_users = False
    for number, line in enumerate(lines):
        if not line.startswith("  "):
            return "\n".join(kept), "\n".join(lines[number:]).strip()
        if found := _FRAME.match(line):
            is_users = not _SPARKS_OWN.search(found["path"])
        if is_users:
            kept.append(line)
    return "\n".join(kept), "an error without a message"


def _sentence(text: str) -> str:
    """Return the sentence nearest to the cause: one with a condition's name, else the innermost."""
    lines = [line.strip() for line in text.partition(_SERVER_STACK)[0].splitlines()]
    told = [line for line in lines if line and not line.startswith(("at ", "..."))]
    named = [line for line in told if _CONDITION.search(line)]
    # For a failed barrier task, Spark writes a sentence and quotes the exception below it.
    quoted = [line for line in told if _EXCEPTION.match(line) and _EXCEPTION.sub("", line)]
    best = (named or quoted or [" ".join(told[:3])])[-1]
    best = best.removeprefix("Caused by: ").removeprefix(": ")
    return _STATE.sub("", _EXCEPTION.sub("", best))[:1000]


def _called_from(text: str) -> str:
    """Return where the user's program made a column's expression, if Spark says so."""
    found = _CALLED_FROM.search(text)
    return f"{found[1]} {found[2]}" if found else ""
