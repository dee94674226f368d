"""Forms of columns: the type that the driver declares is the one that the worker makes."""

from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_type

from zoo.orca.driver.output_types import column_type
from zoo.orca.wire.outputs import DTYPES, OutputSpec
from zoo.orca.wire.predicting.column_forms import NESTED, USUAL, ColumnForm, ColumnKind
from zoo.orca.worker.predictions import Output, predictions, read_outputs, to_arrow

FORMS = {
    **{kind.name: ColumnForm(kind=kind) for kind in ColumnKind},
    "text": ColumnForm(kind=ColumnKind.CLASS, labels=("a", "b", "c")),
    "numbers": ColumnForm(kind=ColumnKind.CLASS, labels=(1, 2, 3)),
    "shares": ColumnForm(kind=ColumnKind.CLASS, labels=(0.1, 0.2, 0.3)),
    "answers": ColumnForm(kind=ColumnKind.CLASS, labels=(True, False, True)),
}
SHAPES = [(), (1,), (3,), (2, 3), (1, 1)]


def fits(dtype: str, shape: tuple[int, ...], form: ColumnForm) -> bool:
    """Whether an estimator lets this combination pass."""
    if form.kind is ColumnKind.SCALAR:
        return int(np.prod(shape)) == 1
    if form.kind is ColumnKind.VECTOR:
        return len(shape) < 2 and dtype not in ("string", "int64", "uint64")
    if form.kind is ColumnKind.CLASSES:
        return len(shape) < 2 and dtype != "string"
    if form.kind is ColumnKind.CLASS and dtype == "string":
        return shape[-1:] in ((), (1,)) and not form.labels
    return True


def arrow_type(declared: Any) -> pa.DataType:
    """The type that Spark gives to Arrow; a Vector's may hold nulls where it has none."""
    if isinstance(declared, T.StructType):
        return pa.struct([(field.name, arrow_type(field.dataType)) for field in declared.fields])
    if declared.simpleString() != "vector":
        return to_arrow_type(declared)
    return to_arrow(Output(np.ones(1, np.float32), (1, 1))).type


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_type_is_that_of_the_values(form: ColumnForm) -> None:
    for dtype, shape in product(DTYPES, SHAPES):
        if not fits(dtype, shape, form):
            continue
        spec = OutputSpec(name="out", dtype=dtype, row_shape=shape)
        values = np.ones((2, *shape), object if dtype == "string" else dtype)
        if dtype == "string":
            values[...] = "text"
        (arrived,) = read_outputs(predictions([values], [spec]))
        found = to_arrow(Output(arrived.values, arrived.shape), form)
        assert len(found) == 2
        declared = column_type(spec, form)
        assert found.type == arrow_type(declared)


def test_usual_and_nested_differ_in_vectors_alone() -> None:
    floats = OutputSpec(name="out", dtype="float32", row_shape=(3,))
    assert column_type(floats, USUAL).simpleString() == "vector"
    assert column_type(floats, NESTED).simpleString() == "array<float>"
    for shape in ((), (2, 3)):
        one = OutputSpec(name="out", dtype="float32", row_shape=shape)
        assert column_type(one, USUAL) == column_type(one, NESTED)
