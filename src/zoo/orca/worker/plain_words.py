"""Removes what frameworks put around the cause of an error.

TensorFlow quotes the code that made a graph: a hundred lines before the one that counts. Keras
wraps a layer's exception in a description of the call. torch quotes the traceback of a DataLoader's
process.
"""

import linecache
import re
import textwrap
from collections.abc import Callable

#: How TensorFlow's messages begin while it makes a graph, and while it runs one.
_TRACED = "in user code:\n"
_RUN = "Graph execution error:"
_FRAME = re.compile(r'^ *File "(?P<path>.*)", line (?P<line>\d+), in (?P<name>\S*)')
_NAME = re.compile(r"^\w+(\.\w+)*: ")
_NODE = re.compile(r"\s*\[\[.*|\s*\[Op:.*", re.DOTALL)
_CALLING = re.compile(
    r"^Exception encountered when calling (?P<where>.+?)\.\n\n(?P<said>.+?)\n\n"
    r"(Call a|A)rguments received by .*",
    re.DOTALL,
)
#: What torch writes of an exception in a process of a DataLoader.
_IN_LOADER = re.compile(
    r"^Caught \w+ in (?P<where>DataLoader worker process \d+)\.\n"
    r"Original Traceback \(most recent call last\):\n(?P<said>.+)",
    re.DOTALL,
)
#: The marks below a frame's line.
_MARKS = re.compile(r"^[ ~^]+\n", re.MULTILINE)
#: Framework messages for the likeliest mistakes, and their remedies. Groups of a message go into
#: its remedy.
_WAYS_OUT = (
    (
        r"indices\[[\d, ]*\] = (-?\d+) is not in \[0, (\d+)\)",
        "The id {0} has no row in a table of {1}: number ids from 0, as StringIndexer does, or "
        "give the Embedding more rows",
    ),
    (
        r"Cast string to float is not supported",
        "A column of strings is taken for numbers: pyspark.ml.feature.StringIndexer makes some",
    ),
    (
        r"(?:Unknown|Could not interpret) (loss|metric|optimizer)",
        "Name a {0} that Keras has, or pass the object itself to compile",
    ),
)
#: What helps a worker that has run out of memory.
MORE_MEMORY = (
    "Give the workers more of it (on YARN and Kubernetes spark.executor.memoryOverhead), or let "
    "them hold less: fewer workers on a machine, a smaller batch_size, spark.orca.data.memory"
)
_COLOUR = re.compile(r"\x1b\[\d+m")


def plain(kind: str, message: str, is_users: Callable[[str], bool]) -> tuple[str, list[str]]:
    """Return an exception's message, its kind before it, and the user's frames that it quoted.

    Parameters
    ----------
    kind : str
        The exception's name.
    message : str
    is_users : callable
        Whether a file is the user's.
    """
    frames: list[str] = []
    message = _COLOUR.sub("", message)
    if message.startswith(_TRACED):
        message, frames = _without_frames(textwrap.dedent(message[len(_TRACED) :]), is_users)
        # The quote is the exception as it was raised, with its name.
        if found := _NAME.match(message):
            kind, message = found[0].rstrip(": "), message[found.end() :]
    elif message.startswith(_RUN):
        message, frames = _without_frames(message[len(_RUN) :], is_users)
        message = _NODE.sub("", message)
    if found := _IN_LOADER.match(message):
        message, frames = _without_frames(_MARKS.sub("", found["said"]), is_users)
        if name := _NAME.match(message):
            kind, message = name[0].rstrip(": "), message[name.end() :]
        message = f"{message}\n  in {found['where']}"
    if found := _CALLING.match(message):
        message = f"{found['said'].strip()}\n  in calling {found['where']}"
    return f"{kind}: {message}" if message else kind, frames


def way_out(message: str) -> str:
    """Return the remedy for a framework's error without any user frame; or nothing."""
    for pattern, way in _WAYS_OUT:
        if found := re.search(pattern, message):
            return way.format(*found.groups())
    return ""


def _without_frames(text: str, is_users: Callable[[str], bool]) -> tuple[str, list[str]]:
    """Return the text after the last frame, and the user's frames."""
    lines = text.splitlines()
    frames: list[str] = []
    end = 0
    for number, line in enumerate(lines):
        if found := _FRAME.match(line):
            end = number + 1
            source = linecache.getline(found["path"], int(found["line"])).strip()
            if end < len(lines) and _indented(lines[end]) > _indented(line):
                source = lines[end].strip()
                end += 1
            if is_users(found["path"]):
                shown = f"\n    {source}" if source else ""
                frames.append(f"  {found[0].strip()}{shown}")
    said = "\n".join(lines[end:]).strip()
    return (said, frames) if said else (text.strip(), [])


def _indented(line: str) -> int:
    return len(line) - len(line.lstrip()) if line.strip() else 0
