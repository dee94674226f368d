"""The signature of a model, by its columns and outputs."""

import numpy as np
import pandas as pd
import pytest

from zoo.orca.mlflow.schema import signature_of
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.outputs import OutputSpec


def column(name: str, dtype: str, shape: tuple = (), **fields) -> ColumnSpec:
    return ColumnSpec(name=name, dtype=dtype, shape=shape, **fields)


ONE = (OutputSpec(name="out", dtype="float32", row_shape=()),), ("prediction",)
SEVERAL = FeatureSpec(
    features=(
        column("user", "int32"),
        column("price", "float32"),
        column("flag", "bool"),
        column("text", "string"),
        column("bytes", "string", binary=True),
        column("past", "int64", (5,)),
        column("past_mask", "bool", (5,), mask_of="past"),
        column("grid", "float32", (2, 2)),
        column("words", "string", (None,)),
        column("[user, b]", "float32", (2,), parts=("user", "b")),
    ),
    labels=(column("label", "float32"),),
)


def types(schema) -> dict[str, str]:
    return {one.name: repr(one.type).removeprefix("DataType.") for one in schema.inputs}


def test_inputs_are_the_dataframes_columns_each_once():
    found = types(signature_of(SEVERAL, *ONE).inputs)
    assert found == {
        "user": "long",
        "price": "double",
        "flag": "boolean",
        "text": "string",
        "bytes": "binary",
        "past": "Array(long)",
        "grid": "Array(Array(double))",
        "words": "Any",
        "b": "double",
    }


def test_a_part_of_a_stack_that_may_be_a_vector_is_left_open():
    stack = column("[a, b]", "float32", (4,), parts=("a", "b"))
    assert set(types(signature_of(FeatureSpec(features=(stack,)), *ONE).inputs).values()) == {"Any"}


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        ("float32", (), "float"),
        ("float32", (3,), "Array(float)"),
        ("float64", (None, 2), "Array(Array(double))"),
        ("uint8", (), "integer"),
        ("uint32", (), "long"),
        ("string", (), "string"),
    ],
)
def test_outputs_are_those_of_predict(dtype, shape, expected):
    output = OutputSpec(name="out", dtype=dtype, row_shape=shape)
    signature = signature_of(SEVERAL, (output,), ("prediction",))
    assert types(signature.outputs) == {"prediction": expected}


def test_mlflow_takes_what_pandas_makes_of_numbers():
    """A whole number is one of eight bytes there, whatever the DataFrame had."""
    from mlflow.models.utils import _enforce_schema

    columns = FeatureSpec(
        features=(column("a", "int32"), column("b", "float32"), column("c", "float32", (2,)))
    )
    data = pd.DataFrame({"a": [1], "b": [0.5], "c": [np.array([1.0, 2.0], np.float32)]})
    found = _enforce_schema(data, signature_of(columns, *ONE).inputs)
    assert found["a"].tolist() == [1] and found["c"][0].tolist() == [1.0, 2.0]
