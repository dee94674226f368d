"""Predictions between task and child: every dtype comes back as it went, whatever the shape."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from zoo.orca.errors import DataError
from zoo.orca.wire.messages.pipe import TO_TASK, Predictions
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.worker.pipes import Sender, receive
from zoo.orca.worker.predictions import (
    Output,
    decode,
    encode,
    predictions,
    read_outputs,
    split,
    to_arrow,
)

pytestmark = pytest.mark.timeout(60)


def spec(dtype: str, *row_shape: int, name: str = "out") -> OutputSpec:
    return OutputSpec(name=name, dtype=dtype, row_shape=row_shape)


def sent(*outputs: tuple[np.ndarray, str]) -> Predictions:
    """What arrives of these outputs."""
    pipe = io.BytesIO()
    specs = [spec(dtype, *values.shape[1:]) for values, dtype in outputs]
    Sender(pipe).send(predictions([values for values, _ in outputs], specs))
    pipe.seek(0)
    message = receive(pipe, TO_TASK)
    assert isinstance(message, Predictions)
    return message


def batches(*sizes: int) -> list[pa.RecordBatch]:
    return [pa.record_batch({"x": np.arange(size, dtype=np.float32)}) for size in sizes]


def test_batches_arrive_as_one() -> None:
    several = batches(3, 0, 4)
    stream = encode(several).whole
    assert decode(stream).equals(pa.Table.from_batches(several).combine_chunks().to_batches()[0])
    sliced = several[0].slice(1, 2)
    assert decode(encode([sliced]).whole).to_pydict() == sliced.to_pydict()


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_floats_as_arrow(rows: int) -> None:
    values = np.arange(rows * 6, dtype=np.float32)
    assert to_arrow(Output(values[:rows], (rows,))).to_pylist() == values[:rows].tolist()
    nested = to_arrow(Output(values, (rows, 2, 3)))
    assert nested.type == pa.list_(pa.list_(pa.float32()))
    assert nested.to_pylist() == values.reshape(rows, 2, 3).tolist()
    vectors = to_arrow(Output(values, (rows, 6)))
    assert vectors.to_pylist() == [
        {"type": 1, "size": None, "indices": None, "values": row}
        for row in values.reshape(rows, 6).tolist()
    ]


VALUES: list[tuple[str, Any, pa.DataType]] = [
    ("bool", [True, False, True], pa.bool_()),
    ("int8", [-128, 0, 127], pa.int8()),
    ("int16", [-(1 << 15), 0, 1], pa.int16()),
    ("int32", [16777217, -1, 0], pa.int32()),
    ("int64", [1099511627777, -(1 << 63), 1], pa.int64()),
    ("uint8", [255, 0, 1], pa.int16()),
    ("uint16", [65535, 0, 1], pa.int32()),
    ("uint32", [(1 << 32) - 1, 0, 1], pa.int64()),
    ("uint64", [(1 << 64) - 1, 0, 1], pa.decimal128(20, 0)),
    ("float32", [0.5, -1.0, 3.0], pa.float32()),
    ("float64", [0.1, 1e300, -1.0], pa.float64()),
    ("string", ["größe", "", "b"], pa.string()),
]


@pytest.mark.parametrize(("dtype", "values", "kind"), VALUES, ids=[one[0] for one in VALUES])
def test_every_dtype_keeps_its_values(dtype: str, values: Any, kind: pa.DataType) -> None:
    column = np.array(values, object if dtype == "string" else dtype)
    pairs = np.stack([column, column[::-1]], axis=1)
    single, table = read_outputs(sent((column, dtype), (np.ascontiguousarray(pairs), dtype)))
    arrow = to_arrow(single)
    assert arrow.type == kind
    assert arrow.to_pylist() == values
    cut = [part[0] for part in split([single], (1, 0, 2))]
    assert [value for part in cut for value in to_arrow(part).to_pylist()] == values
    nested = to_arrow(table)
    if dtype.startswith("float"):
        assert nested.field("values").to_pylist() == pairs.tolist()
    else:
        assert nested.type == pa.list_(kind)
        assert nested.to_pylist() == pairs.tolist()
        middle = list(split([table], (1, 1, 1)))[1][0]
        assert to_arrow(middle).to_pylist() == pairs[1:2].tolist()


def test_text_comes_as_bytes_too() -> None:
    values = np.array([b"a", "b".encode(), b"\xc3\xb6"], object)
    assert to_arrow(read_outputs(sent((values, "string")))[0]).to_pylist() == ["a", "b", "ö"]


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(DataError, match="'out' holds bytes that are not UTF-8") as caught:
        sent((np.array([b"a", b"\xff"], object), "string"))
    assert "encode_base64" in str(caught.value).splitlines()[1]
