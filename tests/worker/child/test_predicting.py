"""The child calls a model with rows, and takes nothing for a prediction that is not one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.fake_estimator import linear
from tests.worker.group import train_job
from zoo.orca.errors import ModelError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.worker.child.predicting import Calls

pytestmark = pytest.mark.timeout(60)

WIDE = OutputSpec(name="wide", dtype="float32", row_shape=(3,))
SINGLE = OutputSpec(name="single", dtype="float32", row_shape=())


class Model:
    """A predictor that does with x what it is told to, and notes how many rows it was given."""

    def __init__(self, function: Callable[[Any], Any], suits: int = 100) -> None:
        self.function, self.suits = function, suits
        self.begun: list[int] = []
        self.called: list[int] = []

    def begin(self, sample: Any) -> int:
        self.begun.append(len(sample["x"]))
        return self.suits

    def __call__(self, columns: Any) -> list[Any]:
        self.called.append(len(columns["x"]))
        found = self.function(columns["x"])
        return list(found) if isinstance(found, tuple) else [found]


def calls(model: Model, *outputs: OutputSpec, batch_size: int | None = None) -> Calls:
    spec = FeatureSpec(features=(ColumnSpec(name="x", dtype="float32"),))
    recipe = train_job(linear()).model
    job = PredictJob(
        model=recipe,
        columns=spec,
        state=None,
        seed=0,
        batch_size=batch_size,
        outputs=outputs,
    )
    return Calls(model, job)


def rows(count: int) -> dict[str, Any]:
    return {"x": np.arange(count, dtype=np.float32)}


def wide(x: Any) -> Any:
    return np.stack([x, x + 1, x + 2], axis=1)


@pytest.mark.parametrize("most", [1, 2, 7, 100])
def test_calls_do_not_matter(most: int) -> None:
    model = Model(lambda x: (wide(x), x * 2))
    predict = calls(model, WIDE, SINGLE, batch_size=most)
    for count in (15, 1, 0, 4):
        first, second = predict(rows(count))
        np.testing.assert_array_equal(first, wide(rows(count)["x"]))
        np.testing.assert_array_equal(second, rows(count)["x"] * 2)
    assert model.begun == [2] and max(model.called) <= most and min(model.called) > 0


def test_without_a_batch_size_the_model_says_how_many() -> None:
    model = Model(lambda x: x, suits=4)
    calls(model, SINGLE)(rows(9))
    assert model.called == [4, 4, 1]


@pytest.mark.parametrize("most", [1, 2, 7])
@pytest.mark.parametrize(
    ("function", "spec"),
    [
        (lambda x: wide(x)[:, None, :].squeeze(), WIDE),
        (lambda x: x[:, None].squeeze(), SINGLE),
        (lambda x: x[:, None, None].squeeze(), SINGLE),
    ],
)
def test_the_axis_of_a_single_row_is_given_back(
    most: int, function: Callable[[Any], Any], spec: OutputSpec
) -> None:
    expected = wide(rows(9)["x"]) if spec is WIDE else rows(9)["x"]
    found = calls(Model(function), spec, batch_size=most)(rows(9))[0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: wide(x).reshape(-1, 1), r"\(15, 1\) for 5 rows"),
        (lambda x: wide(x).reshape(-1), r"\(15,\) for 5 rows"),
        (lambda x: wide(x).mean(0), r"\(3,\) for 5 rows"),
        (lambda x: x.mean(), r"\(\) for 5 rows"),
        (lambda x: wide(x).T, r"\(3, 5\) for 5 rows"),
    ],
)
def test_what_has_no_entry_for_each_row_is_refused(
    function: Callable[[Any], Any], shape: str
) -> None:
    with pytest.raises(ModelError, match=f"'wide' has shape {shape}"):
        calls(Model(function), WIDE)(rows(5))


def test_other_outputs_than_before_are_refused() -> None:
    with pytest.raises(ModelError, match="returned 2 outputs for 3 rows, and 1 when"):
        calls(Model(lambda x: (x, x)), SINGLE)(rows(3))
    with pytest.raises(ModelError, match="of dtype float32 now and was of int64 before"):
        whole = OutputSpec(name="whole", dtype="int64", row_shape=())
        calls(Model(lambda x: x), whole)(rows(3))
    with pytest.raises(ModelError, match="rows of shape .2,. in one call and .3,. in another"):
        ragged = OutputSpec(name="ragged", dtype="float32", row_shape=(None,))
        calls(Model(lambda x: np.ones((len(x), 2 if x[0] else 3))), ragged, batch_size=2)(rows(4))
