"""Classes from numbers: numpy's own argmax and comparison, for any shape, and no class for NaN."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from zoo.orca.errors import ModelError
from zoo.orca.wire.predicting.column_forms import ColumnForm, ColumnKind
from zoo.orca.worker.predictions import Output, to_arrow

pytestmark = pytest.mark.timeout(60)


def classes(values: Any, threshold: float = 0.0, labels: tuple[Any, ...] = ()) -> pa.Array:
    form = ColumnForm(kind=ColumnKind.CLASS, threshold=threshold, labels=labels)
    array = np.asarray(values)
    return to_arrow(Output(np.ascontiguousarray(array).reshape(-1), array.shape), form)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(50, 4), (50, 3, 4), (0, 4)])
def test_the_largest_along_the_last_axis(dtype: str, shape: tuple[int, ...]) -> None:
    values = (np.random.default_rng(0).normal(size=shape) * 9 + 30).astype(dtype)
    found = classes(values)
    assert found.to_pylist() == values.argmax(-1).tolist()
    kind = pa.int32() if len(shape) == 2 else pa.list_(pa.int32())
    assert found.type == kind


@pytest.mark.parametrize("shape", [(200,), (200, 1)])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_one_float_is_compared(shape: tuple[int, ...], threshold: float) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    values[0], values[1] = threshold, np.nextafter(np.float32(threshold), np.float32(1))
    found = classes(values, threshold)
    assert found.to_pylist() == (values.reshape(-1) > threshold).astype(int).tolist()
    assert found.to_pylist()[:2] == [0, 1]  # as Keras's own accuracy has it


def test_a_nan_speaks_for_no_class() -> None:
    assert classes([[0.1, np.nan, 0.5], [0.1, 0.2, 0.0]]).to_pylist() == [None, 1]
    assert classes([np.nan, 2.0, -np.inf]).to_pylist() == [None, 1, 0]
    assert classes([[np.nan], [1.0]], labels=("no", "yes")).to_pylist() == [None, "yes"]


def test_a_class_that_the_model_gives_itself_is_kept() -> None:
    assert classes(np.array([1 << 40, 3])).to_pylist() == [1 << 40, 3]
    assert classes(np.array([[7], [3]], np.uint8)).type == pa.int16()
    assert classes([True, False]).to_pylist() == [1, 0]
    text = Output(pa.array(["a", "b"]), (2, 1))
    assert to_arrow(text, ColumnForm(kind=ColumnKind.CLASS)).to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (("no", "maybe", "yes"), pa.string()),
        ((10, 20, 1 << 40), pa.int64()),
        ((0.5, 1.5, 2.0), pa.float64()),
        ((True, False, True), pa.bool_()),
    ],
)
def test_labels_have_their_type(labels: tuple[Any, ...], kind: pa.DataType) -> None:
    found = classes([[0, 1, 0], [3, 1, 2], [0, 0, 9]], labels=labels)
    assert found.type == kind and found.to_pylist() == [labels[1], labels[0], labels[2]]
    numbers = classes(np.array([2, 0, 1]), labels=labels)
    assert numbers.to_pylist() == [labels[2], labels[0], labels[1]]


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_class_without_a_label_is_refused(wrong: int) -> None:
    with pytest.raises(ModelError, match=f"the class {wrong}, and labels names the classes 0 to 2"):
        classes(np.array([0, wrong]), labels=("a", "b", "c"))
