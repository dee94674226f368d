"""Both ends of predictions between task and child: Arrow batches there, outputs back.

The columns travel as an Arrow stream, several batches in one message. Numbers come back as bare
bytes with dtype and shape, text as an Arrow stream. Arrow arrays are made around the bytes where
they are needed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.wire.messages.codec import Blob, Payload
from zoo.orca.wire.messages.pipe import Predictions
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.predicting.column_forms import CLASS_FIELDS, USUAL, ColumnForm, ColumnKind
from zoo.orca.worker.classes import class_array, number_array, of_each_class
from zoo.orca.worker.rows.arrays import from_numbers


def encode(batches: Sequence[pa.RecordBatch]) -> Payload:
    """Return batches of one schema as the pieces of an Arrow stream, each copied once."""
    pieces = [batches[0].schema.serialize(), *(batch.serialize() for batch in batches)]
    return Payload(tuple(memoryview(piece) for piece in pieces))


def decode(stream: bytes | memoryview) -> pa.RecordBatch:
    """Return the rows of all batches that `encode` wrote as one batch; one batch is not copied."""
    with pa.ipc.open_stream(pa.BufferReader(stream)) as reader:
        batches = list(reader)
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of some rows.

    Parameters
    ----------
    values : array or pyarrow.Array
        All its values, flat: a numpy array of numbers, or an Arrow array of text.
    shape : tuple of int
        (rows, ...)
    """

    values: NDArray[Any] | pa.Array
    shape: tuple[int, ...]

    def rows(self, start: int, count: int) -> "Output":
        """Return the output of some of the rows, without a copy."""
        size = prod(self.shape[1:])
        values = self.values[start * size : (start + count) * size]
        return Output(values, (count, *self.shape[1:]))


def predictions(outputs: Sequence[NDArray[Any]], specs: Sequence[OutputSpec]) -> Predictions:
    """Return the outputs of some rows as a message, each in its specified dtype."""
    parts = [
        _text(output, spec) if spec.dtype == "string" else [output.reshape(-1).view(np.uint8).data]
        for output, spec in zip(outputs, specs, strict=True)
    ]
    return Predictions(
        shapes=tuple(output.shape for output in outputs),
        dtypes=tuple(spec.dtype for spec in specs),
        sizes=tuple(sum(len(piece) for piece in part) for part in parts),
        values=Payload(tuple(piece for part in parts for piece in part)),
    )


def read_outputs(message: Predictions) -> list[Output]:
    """Return the outputs in a message, without a copy."""
    found, start, blob = [], 0, memoryview(message.values.whole)
    for shape, dtype, size in zip(message.shapes, message.dtypes, message.sizes, strict=True):
        part = blob[start : start + size]
        flat = decode(part).column(0) if dtype == "string" else np.frombuffer(part, dtype)
        found.append(Output(flat, shape))
        start += size
    return found


def split(outputs: list[Output], rows: Iterable[int]) -> Iterator[list[Output]]:
    """Yield the outputs split into consecutive groups of the given row counts."""
    start = 0
    for count in rows:
        yield [output.rows(start, count) for output in outputs]
        start += count


def to_arrow(output: Output, form: ColumnForm = USUAL) -> pa.Array:
    """Return one output as an array of what its column holds for each row.

    Made here, a Vector costs a tenth of what Spark's own function costs on the JVM.

    Raises
    ------
    ModelError
        If the model gives a class that has no label.
    """
    values, shape = output.values, output.shape
    if form.kind is ColumnKind.CLASSES:
        raw, chances, classes = of_each_class(values, shape, form.scale)
        columns = [_vectors(raw, *raw.shape), _vectors(chances, *raw.shape), from_numbers(classes)]
        return pa.StructArray.from_arrays(columns, list(CLASS_FIELDS))
    if form.kind is ColumnKind.CLASS:
        values, shape = class_array(values, shape, form), shape[:-1] or shape
    elif form.kind is ColumnKind.SCALAR:
        shape = shape[:1]
    elif form.kind in (ColumnKind.ARRAY, ColumnKind.VECTOR) and len(shape) == 1:
        shape = (*shape, 1)
    if isinstance(values, np.ndarray):
        usually = form.kind is ColumnKind.USUAL and len(shape) == 2 and values.dtype.kind == "f"
        if usually or form.kind is ColumnKind.VECTOR:
            return _vectors(values, *shape)
        values = number_array(values)
    for axis in range(len(shape) - 1, 0, -1):
        values = _lists(values, prod(shape[:axis]), shape[axis])
    return values


def _text(output: NDArray[Any], spec: OutputSpec) -> Sequence[Blob]:
    """Return strings, which frameworks hold as bytes, as the pieces of an Arrow stream."""
    raw = [one.encode() if isinstance(one, str) else one for one in output.reshape(-1).tolist()]
    try:
        text = pa.array(raw, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"the model's output {spec.name!r} holds bytes that are not UTF-8 text\n"
            "Return text, for example by tf.io.encode_base64"
        ) from error
    return encode([pa.record_batch([text], ["text"])]).pieces


def _vectors(values: NDArray[Any], rows: int, length: int) -> pa.Array:
    """Return rows as dense vectors: the struct that stores a Vector, with type 1 for dense."""
    fields = {
        "type": from_numbers(np.ones(rows, np.int8)),
        "size": pa.nulls(rows, pa.int32()),
        "indices": pa.nulls(rows, pa.list_(pa.int32())),
        "values": _lists(from_numbers(values.astype(np.float64).reshape(-1)), rows, length),
    }
    return pa.StructArray.from_arrays(list(fields.values()), list(fields))


def _lists(array: pa.Array, count: int, length: int) -> pa.Array:
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(length)
    return pa.ListArray.from_arrays(from_numbers(offsets), array)
