"""The directories of checkpoints in a `model_dir`: one for each `fit`, and what it is a fit of.

A driver that is killed leaves its directory behind. A later program finds it by a record of the
arguments that decide the training: a `fit` goes on only with what is its own.
"""

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from zoo.orca.driver.session.cluster import is_connect
from zoo.orca.errors import InvalidInputError, StateError
from zoo.orca.files import list_names, read_bytes, remove_directory, remove_file, write_bytes
from zoo.orca.refusals import is_rehearsed, noted
from zoo.orca.wire.checkpoints import checkpoints_in

#: What leaves checkpoints: the calls' names, and the beginnings of their directories' names.
FIT, RUN = "fit", "run"
_RECORD = "fit.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """What decides a training, apart from its rows.

    Parameters
    ----------
    model : str
        The fingerprint of the model.
    columns : str
        The columns and their roles, as JSON.
    batch_size, seed, initial_epoch : int
    steps_per_epoch : int or None
    kind : str
        The name of the call.
    """

    model: str
    columns: str
    batch_size: int
    seed: int
    initial_epoch: int
    steps_per_epoch: int | None
    kind: str = FIT


def sees(model_dir: str, frame: DataFrame) -> bool:
    """Whether the driver reaches a `model_dir`: with Spark Connect, a path may be of the server."""
    is_path = "://" not in model_dir
    return not (is_path and is_connect(frame.sparkSession)) or Path(model_dir).is_dir()


def check_seen(model_dir: str, frame: DataFrame) -> None:
    """Raise `InvalidInputError` if only the workers reach a `model_dir`."""
    if not sees(model_dir, frame):
        raise InvalidInputError(
            f"resume=True: this machine has no directory {model_dir}, in which to look for what a "
            "program that was ended has left\n"
            "Name model_dir by a URL that this program and the workers reach"
        )


@noted(str)
def left_over(model_dir: str, record: FitRecord, frame: DataFrame) -> str:
    """Return the name of the `fit` that `resume=True` goes on with; empty if there is none.

    Raises
    ------
    InvalidInputError
        As `check_seen` and `unfinished`.
    """
    check_seen(model_dir, frame)
    return unfinished(model_dir, record)


def new_run(kind: str = FIT) -> str:
    """Return a name that no other call has."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def begin(directory: str, record: FitRecord) -> None:
    """Note in a `fit`'s directory what it is, and that this process runs it.

    Raises
    ------
    InvalidInputError
        If nothing can be written there.
    """
    _write(directory, record, this_process())


def release(directory: str, record: FitRecord) -> str:
    """Leave the directory of a `fit` that failed to a later one; return its newest checkpoint.

    Without a checkpoint the directory is removed, and the name is empty.
    """
    found = list_names(directory)
    names = checkpoints_in(found)
    if not names:
        remove(directory)
        return ""
    for name in found:
        if name not in (*names, _RECORD):  # what a worker was writing when it was killed
            remove_file(f"{directory}/{name}")
    _write(directory, record, {})
    return names[-1]


def remove(directory: str) -> None:
    """Remove the directory of a `fit`, its record last.

    If this process is killed meanwhile, a later `fit` still knows whose the rest is.
    """
    for name in checkpoints_in(list_names(directory)):
        remove_file(f"{directory}/{name}")
    remove_directory(directory)


def unfinished(model_dir: str, record: FitRecord) -> str:
    """Return the name of the `fit` of this record that nobody runs any more; empty if none.

    Of several, it is the one that has come furthest. What a program of this host has left without
    a checkpoint is removed.

    Raises
    ------
    InvalidInputError
        If there are others alone; names the first argument that differs.
    """
    root = model_dir.rstrip("/")
    own: list[tuple[str, str, FitRecord]] = []
    others: list[tuple[str, str, FitRecord]] = []
    for name in list_names(root):
        if not name.startswith(f"{record.kind}-"):
            continue
        found, owner = _read(f"{root}/{name}")
        newest = checkpoints_in(list_names(f"{root}/{name}"))[-1:]
        if found is None or is_alive(owner):
            continue
        if not newest:
            # One of another host may be alive.
            if is_of_here(owner) and not is_rehearsed():
                remove_directory(f"{root}/{name}")
            continue
        (own if found == record else others).append((newest[0], name, found))
    if own:
        return max(own, key=lambda one: one[:2])[1]
    if others:
        _, name, found = max(others, key=lambda one: one[:2])
        raise InvalidInputError(_difference(f"{root}/{name}", found, record))
    return ""


def _difference(directory: str, found: FitRecord, record: FitRecord) -> str:
    named = [one.name for one in fields(FitRecord)]
    first = next(name for name in named if getattr(found, name) != getattr(record, name))
    if first in ("model", "columns"):
        whole = "model" if record.kind == FIT else "function, or of other arguments"
        what = f"is of another {whole if first == 'model' else 'set of columns'}"
    else:
        what = f"has {first}={getattr(found, first)}, and this one {getattr(record, first)}"
    return (
        f"resume=True: the unfinished {record.kind} in {directory} {what}\n"
        f"Call {record.kind} as the one that was ended, or leave resume out to begin a new one. "
        "Remove the directory once nobody needs it"
    )


def _write(directory: str, record: FitRecord, owner: dict[str, Any]) -> None:
    text = json.dumps({"fit": asdict(record), "owner": owner})
    write_bytes(f"{directory}/{_RECORD}", text.encode())


def _read(directory: str) -> tuple[FitRecord | None, dict[str, Any]]:
    """Return a directory's record and who runs it; None if it has none that can be read."""
    try:
        told = json.loads(read_bytes(f"{directory}/{_RECORD}"))
        return FitRecord(**told["fit"]), dict(told["owner"])
    except (StateError, ValueError, TypeError, KeyError):
        return None, {}


def this_process() -> dict[str, Any]:
    """Return what tells this process from all others, of any host."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "began": _beginning(pid)}


def is_alive(owner: dict[str, Any]) -> bool:
    """Whether a process of this host runs still; those of other hosts count as ended."""
    if not is_of_here(owner):
        return False
    began = _beginning(int(owner.get("pid", 0)))
    return bool(began) and began == owner.get("began")


def is_of_here(owner: dict[str, Any]) -> bool:
    """Whether a process is, or was, one of this host."""
    return bool(owner.get("host") == socket.gethostname())


def _beginning(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty if there is none.

    A number of a process is used again.
    """
    try:
        # The name, in parentheses, may hold spaces. The 22nd field counts from the number.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
