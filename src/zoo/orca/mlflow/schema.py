"""The signature of a model: the DataFrame's columns that go in, and the predictions.

Numbers are declared in the widest type of their kind, because MLflow refuses values that are wider
than declared, and pandas makes every whole number one of eight bytes. They become the model's own
before it sees them.
"""

from collections.abc import Sequence
from typing import Any

from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.outputs import OutputSpec

_INPUTS = {"bool": "boolean", "int32": "long", "int64": "long", "float32": "double"}
_OUTPUTS = {
    "bool": "boolean",
    "string": "string",
    "float32": "float",
    "float64": "double",
    "int8": "integer",
    "int16": "integer",
    "int32": "integer",
    "int64": "long",
    "uint8": "integer",
    "uint16": "integer",
    "uint32": "long",
    "uint64": "long",
}


def signature_of(columns: FeatureSpec, outputs: Sequence[OutputSpec], names: Sequence[str]) -> Any:
    """Return MLflow's signature of a model.

    Parameters
    ----------
    columns : FeatureSpec
        Those of the rows; labels and weights do not count.
    outputs : sequence of OutputSpec
    names : sequence of str
        The outputs' names.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs: dict[str, Any] = {}
    for column in columns.features:
        if not column.mask_of:
            for source in column.sources:
                inputs.setdefault(source, _input(column, source))
    return ModelSignature(
        inputs=Schema([ColSpec(kind, name) for name, kind in inputs.items()]),
        outputs=Schema(
            [ColSpec(_output(one), name) for one, name in zip(outputs, names, strict=True)]
        ),
    )


def _input(column: ColumnSpec, source: str) -> Any:
    from mlflow.types.schema import AnyType

    depth = len(column.shape)
    if column.parts:
        are_scalars = not column.arrays and column.shape == (len(column.parts),)
        if source not in column.arrays and not are_scalars:
            return AnyType()  # a number, or a Vector: the stack does not tell
        depth = int(source in column.arrays)
    if column.dtype == "string":
        # MLflow turns arrays of texts into numpy's, which have no zeros at their ends.
        return AnyType() if depth else _simple("binary" if column.binary else "string")
    return _nested(_simple(_INPUTS[column.dtype]), depth)


def _output(output: OutputSpec) -> Any:
    return _nested(_simple(_OUTPUTS[output.dtype]), len(output.row_shape))


def _simple(name: str) -> Any:
    from mlflow.types import DataType

    return DataType[name]


def _nested(kind: Any, depth: int) -> Any:
    from mlflow.types.schema import Array

    for _ in range(depth):
        kind = Array(kind)
    return kind
