"""Shards as bytes: any Python value that an XShards holds, as one cell of a DataFrame.

A pandas frame of plain columns travels as Arrow, if that gives back the very same frame. All else
is pickled: a frame with lists in its cells would come back with arrays there.
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from zoo.orca.errors import DataError
from zoo.orca.wire.pickling import dumps

#: The columns of a frame of shards: the shard's index, how its bytes are to be read, its length,
#: and the bytes.
INDEX, FORM, ROWS, DATA = "index", "form", "rows", "data"
COLUMNS = (INDEX, FORM, ROWS, DATA)
ARROW, PICKLE, FAILED = "arrow", "pickle", "failed"
SCHEMA = pa.schema(
    [(INDEX, pa.int64()), (FORM, pa.string()), (ROWS, pa.int64()), (DATA, pa.binary())]
)
#: Bytes of one shard. A cell of Spark's may have twice as many, but its buffers grow by doubling.
MOST_BYTES = 1 << 30
#: Where partitions have several shards, the index is the partition's number shifted by so many
#: bits, and the shard's number within.
SHIFT = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A shard as bytes.

    Parameters
    ----------
    form : str
        `ARROW`, `PICKLE`, or `FAILED`: then the bytes tell why there is no shard.
    rows : int
        The length of the shard; 1 for what has none.
    data : bytes
    """

    form: str
    rows: int
    data: bytes


def pack_shard(value: Any, most: int = MOST_BYTES) -> Packed:
    """Return a shard as bytes.

    Raises
    ------
    DataError
        If it cannot be pickled, or is too large for one cell of Spark's.
    """
    form, data = ARROW, _as_arrow(value)
    if data is None:
        form, data = PICKLE, _pickled(value)
    if len(data) > most:
        raise DataError(
            f"the shard has {len(data):,} bytes, and Spark moves at most {most:,} as one value\n"
            "Make more and smaller shards: repartition(n), or a larger num_shards"
        )
    return Packed(form=form, rows=length_of(value), data=bytes(data))


def _pickled(value: Any) -> bytes:
    try:
        return dumps(value)
    except Exception as error:  # whatever an object's __reduce__ raises
        kind = type(value).__qualname__
        raise DataError(
            f"the shard, of type {kind}, cannot be pickled: {error}\n"
            "Make shards of frames, arrays and plain values"
        ) from error


def unpack_shard(form: str, data: bytes) -> Any:
    """Return the shard that `pack_shard` packed."""
    if form == ARROW:
        return pa.ipc.open_stream(data).read_all().to_pandas()
    return pickle.loads(data)


def length_of(value: Any) -> int:
    """Return the length of a shard, as the original counts it: 1 for what has none."""
    try:
        return len(value)
    except TypeError:
        return 1


def is_pandas(value: Any, kind: str = "DataFrame") -> bool:
    """Whether a value is a frame (or another kind of object) of pandas, which need not be there."""
    found = type(value)
    return found.__name__ == kind and found.__module__.partition(".")[0] == "pandas"


def shard_name(index: int) -> str:
    """Return what the user calls a shard."""
    if index < 1 << SHIFT:
        return f"shard {index}"
    return f"shard {index & ((1 << SHIFT) - 1)} of partition {(index >> SHIFT) - 1}"


def cell_rows(pieces: Iterator[tuple[int, Packed]]) -> Iterator[pa.RecordBatch]:
    """Yield one Arrow batch a shard: no batch is larger than the shard in it."""
    for index, packed in pieces:
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([index], pa.int64()),
                pa.array([packed.form], pa.string()),
                pa.array([packed.rows], pa.int64()),
                pa.array([packed.data], pa.binary()),
            ],
            schema=SCHEMA,
        )


def _as_arrow(value: Any) -> bytes | None:
    """Return a pandas frame as an Arrow stream; None for what would come back as something else."""
    if not is_pandas(value) or value.attrs or not _is_plain_index(value):
        return None
    names = list(value.columns)
    if value.columns.name is not None or len(set(names)) < len(names):
        return None
    if not all(type(name) is str and _is_plain(value[name]) for name in names):
        return None
    table = pa.Table.from_pandas(value)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _is_plain_index(frame: Any) -> bool:
    return is_pandas(frame.index, "RangeIndex")


def _is_plain(column: Any) -> bool:
    """Whether Arrow gives back the very same column."""
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind in "biuf":
        return kind.itemsize <= 8 and kind != np.float16
    if kind == np.dtype("datetime64[ns]"):
        return True
    if kind != np.dtype(object):
        return False
    try:
        # pandas's NaN must not become None: it is no null here, so a column with both is refused.
        found = pa.array(column.to_numpy(), from_pandas=False).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return False
    return bool(pa.types.is_string(found) or pa.types.is_binary(found))
