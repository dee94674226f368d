"""The child calls a model with rows, and takes nothing for a prediction that is not one."""

import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.fake_estimator import linear
from tests.worker.group import train_job
from zoo.orca.errors import ModelError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.messages.pipe import Batches, End, Predict, Predictions, Ready
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State
from zoo.orca.worker.child.predicting import Calls, Kept, serve_predictions
from zoo.orca.worker.predictions import encode, read_outputs

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


def job_of(*outputs: OutputSpec, state: bytes | None = None, **fields: Any) -> PredictJob:
    spec = FeatureSpec(features=(ColumnSpec(name="x", dtype="float32"),))
    recipe = train_job(linear()).model
    return PredictJob(model=recipe, columns=spec, state=state, seed=0, outputs=outputs, **fields)


def calls(model: Model, *outputs: OutputSpec, batch_size: int | None = None) -> Calls:
    return Calls(model, job_of(*outputs, batch_size=batch_size))


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


class Serving:
    """Serves predictions of x = 1, 2 as a child does, and counts the models that it makes."""

    def __init__(self, *, is_as_new: bool = True) -> None:
        self.kept, self.made, self.is_as_new = Kept(), 0, is_as_new

    def __call__(self, weight: float, **fields: Any) -> list[float]:
        state = State({"weights/w": np.array([weight])}, {}).to_bytes()
        packed = pickle.dumps(job_of(SINGLE, state=state, **fields))
        rows = pa.record_batch([pa.array([1.0, 2.0], pa.float32())], ["x"])
        letters, answers = iter([Batches(stream=encode([rows])), End()]), list[Any]()
        serve_predictions(
            Predict(job=packed),
            SimpleNamespace(send=answers.append),  # type: ignore[arg-type]
            SimpleNamespace(take=lambda *kinds: next(letters)),  # type: ignore[arg-type]
            self._load,
            self.kept,
        )
        ready, found = answers
        assert isinstance(ready, Ready) and isinstance(found, Predictions)
        return list(read_outputs(found)[0].values)

    def _load(self, job: PredictJob) -> Any:
        self.made += 1
        weight = State.from_bytes(job.state or b"").tensors["weights/w"].item()
        model = Model(lambda x: x * np.float32(weight))
        model.end = lambda: None  # type: ignore[attr-defined]
        model.is_as_new = self.is_as_new  # type: ignore[attr-defined]
        return SimpleNamespace(predictor=lambda job: model)


def test_the_same_job_again_finds_its_model() -> None:
    serve = Serving()
    assert serve(2.0) == serve(2.0) == serve(2.0) == [2.0, 4.0] and serve.made == 1


def test_other_weights_or_anything_else_make_another_model() -> None:
    serve = Serving()
    assert [serve(weight) for weight in (2.0, 3.0, 2.0)] == [[2, 4], [3, 6], [2, 4]]
    assert serve.made == 3  # only the last one is kept
    serve(2.0, environment={"A": "1"})
    serve.kept.forget()
    serve(2.0, environment={"A": "1"})
    assert serve.made == 5


def test_a_model_that_may_have_changed_is_not_kept() -> None:
    serve = Serving(is_as_new=False)
    assert serve(2.0) == serve(2.0) == [2.0, 4.0] and serve.made == 2


def test_a_model_that_failed_is_not_kept() -> None:
    serve = Serving()
    assert serve.kept.take(b"job") is None
    serve.kept.keep(Model(wide))  # type: ignore[arg-type]
    with pytest.raises(ModelError):
        calls(serve.kept.take(b"job"), SINGLE)(rows(3))  # type: ignore[arg-type]
    assert serve.kept.take(b"job") is None
