"""What a task does to each shard: the user's functions, and ours, one after the other.

A function of ours that extends `Indexed` also gets the shard's index.
"""

import operator
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.orca.errors import DataError, ShardError, WorkerError, error_class
from zoo.orca.wire.messages.codec import Channel
from zoo.orca.wire.messages.results import Failure
from zoo.orca.wire.modules import is_own_name
from zoo.orca.wire.shards.packed import (
    FAILED,
    Packed,
    is_pandas,
    pack_shard,
    shard_name,
    unpack_shard,
)
from zoo.orca.worker.describing import describe
from zoo.orca.worker.shards.pieces import rows_of

Function = Callable[..., Any]
#: A tuple, because an error about what cannot be pickled looks for it in there.
UsersCall = tuple[Function, tuple[Any, ...]]
_FAILURES: Channel[Failure] = Channel(Failure)


class Indexed(ABC):
    """A function that also gets the shard's index."""

    @abstractmethod
    def __call__(self, shard: Any, index: int) -> Any:
        """Return what becomes of a shard."""


class Functions:
    """Functions that are applied to each shard, unpickled when the first shard comes.

    Parameters
    ----------
    packed : sequence of bytes
        Each a pickled function; one of the user's is a tuple of the function and a tuple of further
        arguments.
    """

    def __init__(self, packed: Sequence[bytes]) -> None:
        self._packed = packed
        self._functions: list[Function | UsersCall] | None = None

    def on_value(self, value: Any, index: int) -> Any:
        """Return what becomes of a shard; raises what the user's function raises."""
        if self._functions is None:
            self._functions = [pickle.loads(one) for one in self._packed]
        for function in self._functions:
            if isinstance(function, tuple):
                users, arguments = function
                value = users(value, *arguments)
            else:
                value = function(value, index) if isinstance(function, Indexed) else function(value)
        return value

    def on_packed(self, packed: Packed, index: int) -> Any:
        """Return what becomes of a packed shard.

        Raises
        ------
        Failed
            If the shard, or a function, has failed.
        """
        if packed.form == FAILED:
            raise Failed(packed.data)
        return caught(lambda: self.on_value(unpack_shard(packed.form, packed.data), index))


class Failed(Exception):
    """A failure on its way to the driver, as bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data

    @property
    def packed(self) -> Packed:
        """The failure in place of a shard."""
        return Packed(form=FAILED, rows=0, data=self.data)


def caught(call: Callable[[], Any]) -> Any:
    """Return what `call` returns; turn what it raises into `Failed`."""
    try:
        return call()
    except Failed:
        raise
    except Exception as error:  # whatever a function of the user raises
        raise Failed(describe(error).to_text().encode()) from error


def packed_or_failed(call: Callable[[], Any]) -> Packed:
    """Return the shard that `call` returns, packed; or its failure."""
    try:
        return caught(lambda: pack_shard(call()))  # type: ignore[no-any-return]
    except Failed as failed:
        return failed.packed


def packed_value(value: Any) -> Packed:
    """Return a value packed as a shard; or why it cannot be one."""
    return packed_or_failed(lambda: value)


def shard_error(index: int, data: bytes) -> Exception:
    """Return the user's error for the shard that failed."""
    failure = _FAILURES.from_text(data)
    kind = error_class(failure.error)
    name = shard_name(index)
    if is_own_name(failure.module):
        where = (
            f"the workers have no module {failure.module!r}, which is imported there\n"
            "Send it along with spark.addArtifacts(path, pyfile=True), or install it there with pip"
        )
    else:
        where = "\n".join(filter(None, (failure.message, failure.where)))
    error = (ShardError if issubclass(kind, WorkerError) else kind)(f"{name}: {where}")
    error.traceback = failure.traceback
    return error


@dataclass(frozen=True, slots=True)
class Item:
    """Returns one item, or column, of each shard."""

    key: Any

    def __call__(self, shard: Any) -> Any:
        """Return the item."""
        return operator.getitem(shard, self.key)


@dataclass(frozen=True, slots=True)
class Sample(Indexed):
    """Returns some rows of each frame, other ones for each shard."""

    arguments: dict[str, Any]
    seed: int

    def __call__(self, shard: Any, index: int) -> Any:
        """Return the rows."""
        import numpy as np

        random = np.random.default_rng([self.seed, index])
        return framed(shard, "sample").sample(random_state=random, **self.arguments)


@dataclass(frozen=True, slots=True)
class Selected:
    """Returns some columns of each frame."""

    names: list[str]

    def __call__(self, shard: Any) -> Any:
        """Return the columns, in the order of the names."""
        frame = framed(shard, "select")
        missing = [name for name in self.names if name not in frame.columns]
        if missing:
            raise DataError(
                f"there is no column {missing[0]!r}\nThe frame has the columns "
                f"{', '.join(map(repr, frame.columns))}"
            )
        return frame[self.names]


@dataclass(frozen=True, slots=True)
class Without:
    """Drops columns of each frame."""

    names: list[str]

    def __call__(self, shard: Any) -> Any:
        """Return the other columns."""
        return framed(shard, "drop_missing_value").drop(columns=self.names)


@dataclass(frozen=True, slots=True)
class Assemble:
    """Makes arrays of a frame's columns: ``{"x": features, "y": labels}``."""

    features: str | Sequence[str]
    labels: str | Sequence[str]

    def __call__(self, shard: Any) -> Any:
        """Return one array of a row's features, and one of its labels."""
        frame = framed(shard, "assembleFeatureLabelCols")
        return {"x": _array(frame, self.features), "y": _array(frame, self.labels)}


def _array(frame: Any, names: str | Sequence[str]) -> Any:
    """Return one column as an array, stacked if its cells are arrays; several as a table."""
    import numpy as np

    if not isinstance(names, str):
        return Selected(list(names))(frame).to_numpy()
    values = Selected([names])(frame)[names].to_numpy()
    is_nested = values.dtype == object and len(values) and isinstance(values[0], (list, np.ndarray))
    return np.stack(list(map(np.asarray, values))) if is_nested else values


def stack_rows(shards: Sequence[Any]) -> Any:
    """Return rows ``{"x": …, "y": …}``, each a shard or in a list that is one, as one dict."""
    import numpy as np

    lists = [list(shard) if isinstance(shard, (list, tuple)) else [shard] for shard in shards]
    rows = [row for one in lists for row in one]
    other = next((row for row in rows if not isinstance(row, dict)), None)
    if other is not None:
        raise DataError(
            f"a row is of type {type(other).__name__}, not a dict\n"
            "stack_feature_labels takes shards that are one row {'x': …, 'y': …}, or lists of such"
        )
    return {name: np.stack([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def unique_values(shard: Any) -> Any:
    """Return the different values of a Series, the first one first."""
    if not is_pandas(shard, "Series"):
        raise DataError(
            f"the shard is a {type(shard).__name__}, not a Series\n"
            "Take a column first: shards['column'].unique()"
        )
    return shard.unique()


def number_of_items(shard: Any) -> int:
    """Return how many items a list or tuple has; -1 for anything else."""
    return len(shard) if isinstance(shard, (list, tuple)) else -1


def measure(shard: Any) -> tuple[str, int | None]:
    """Return the kind of a shard, and its number of rows if it can be cut between rows."""
    kind = "frame" if is_pandas(shard) or is_pandas(shard, "Series") else type(shard).__name__
    return kind, rows_of(shard)


def framed(shard: Any, method: str) -> Any:
    """Return a shard that must be a pandas frame.

    Raises
    ------
    DataError
        If it is something else.
    """
    if not is_pandas(shard):
        raise DataError(
            f"the shard is a {type(shard).__name__}, not a pandas DataFrame\n"
            f"{method} takes shards of frames; transform_shard takes a function for any shard"
        )
    return shard
