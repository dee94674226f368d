"""Classes from numbers: numpy's own argmax and comparison, for any shape, and no class for NaN.

And all that Spark ML has of classes, by the formulas.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from zoo.orca.errors import ModelError
from zoo.orca.wire.outputs import Scale
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


SCORES = np.array(
    [[1.0, 2.0, 3.0], [-1000.0, 0.0, 1000.0], [5.0, 5.0, 1.0], [-2.0, -1.0, -3.0]], np.float32
)


def of_spark_ml(values: Any, scale: Scale) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Raw predictions, probabilities and classes."""
    array = np.asarray(values, np.float32)
    form = ColumnForm(kind=ColumnKind.CLASSES, scale=scale)
    rows = to_arrow(Output(array.reshape(-1), array.shape), form).to_pylist()
    raw, chances = (
        np.array([row[name]["values"] for row in rows]) for name in ("rawPrediction", "probability")
    )
    return raw, chances, [row["prediction"] for row in rows]


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values.astype(float) - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_logits_of_classes() -> None:
    raw, chances, found = of_spark_ml(SCORES, Scale.LOGITS)
    np.testing.assert_array_equal(raw, SCORES)
    np.testing.assert_allclose(chances, softmax(SCORES), rtol=1e-12)
    assert found == [2, 2, 0, 1]


def test_probabilities_of_classes() -> None:
    given = softmax(SCORES).astype(np.float32)
    raw, chances, found = of_spark_ml(given, Scale.PROBABILITIES)
    np.testing.assert_array_equal(raw, given)
    np.testing.assert_array_equal(chances, given)
    assert found == [2, 2, 0, 1]


def test_logarithms_of_classes() -> None:
    given = np.log(softmax(SCORES[[0, 3]])).astype(np.float32)
    raw, chances, found = of_spark_ml(given, Scale.LOGARITHMS)
    np.testing.assert_array_equal(raw, given)
    np.testing.assert_allclose(chances, np.exp(given.astype(float)), rtol=1e-12)
    assert found == [2, 1]


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_one_logit(shape: tuple[int, ...]) -> None:
    logits = np.array([-800.0, -2.0, 0.0, 3.0, 40.0, 800.0])
    raw, chances, found = of_spark_ml(logits.reshape(shape), Scale.LOGITS)
    np.testing.assert_array_equal(raw, np.stack([-logits, logits], 1))
    with np.errstate(over="ignore"):
        expected = np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], 1)
    np.testing.assert_allclose(chances, expected, rtol=1e-12)
    assert chances[4, 0] == pytest.approx(np.exp(-40.0)) and found == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_one_probability(shape: tuple[int, ...]) -> None:
    chance = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    raw, chances, found = of_spark_ml(chance.reshape(shape), Scale.PROBABILITIES)
    np.testing.assert_array_equal(chances, np.stack([1 - chance, chance], 1))
    np.testing.assert_array_equal(raw, chances)
    assert found == [0, 0, 0, 1, 1]


def test_no_rows_have_no_classes() -> None:
    form = ColumnForm(kind=ColumnKind.CLASSES)
    for shape in ((0,), (0, 1), (0, 3)):
        assert len(to_arrow(Output(np.zeros(0, np.float32), shape), form)) == 0
