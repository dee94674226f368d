"""Converts numbers between Arrow and numpy, without pandas.

pyarrow's `to_numpy` and `pyarrow.array` import pandas at their first call. The import takes a third
of a second of processor time in each new Python worker, and in each child whose framework does not
need pandas. A child needs that time to import its framework. Memory is shared both ways, not
copied.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers(values: pa.Array) -> NDArray[Any]:
    """Return an Arrow array of numbers without nulls as a flat array, read-only."""
    dtype = np.dtype(values.type.to_pandas_dtype())
    data = values.buffers()[1]
    if data is None or not len(values):
        return np.empty(0, dtype)
    return np.frombuffer(data, dtype, len(values), values.offset * dtype.itemsize)


def booleans(values: pa.Array) -> NDArray[np.bool_]:
    """Return an Arrow array of booleans, stored as bits, without nulls as a flat array."""
    return numbers(values.cast(pa.uint8())).view(np.bool_)


def from_numbers(values: NDArray[Any]) -> pa.Array:
    """Return a contiguous array of numbers as a flat Arrow array."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, values.size, [None, pa.py_buffer(values)])


def from_bytes(value: bytes | memoryview | None, kind: pa.DataType) -> pa.Array:
    """Return one value, or null, as an Arrow array of strings or binary values."""
    if value is None:
        return pa.nulls(1, kind)
    offsets = np.array([0, len(value)], np.int32)
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(offsets), pa.py_buffer(value)])
