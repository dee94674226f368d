"""XShards in an estimator: they train what their rows train, and get their predictions back."""

import numpy as np
import pandas as pd
import pytest

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.data import XShards
from zoo.orca.errors import ColumnError, OrcaError, ShardError

pytestmark = pytest.mark.timeout(120)

FRAME = pd.DataFrame({"x": np.arange(60) / 60, "y": np.arange(60) / 30, "t": ["a"] * 60})


@pytest.fixture(scope="module", autouse=True)
def _session(spark):
    return spark


@pytest.fixture(scope="module")
def by_rows(spark):
    """Trained on a DataFrame of the same rows."""
    estimator = FakeEstimator.of(linear())
    estimator.fit(spark.createDataFrame(FRAME), epochs=2, shuffle=True)
    return estimator


def trained(shards, workers=1, **columns):
    estimator = FakeEstimator.of(linear(), workers=workers)
    estimator.fit(shards, epochs=2, **columns)
    return estimator


def arrays(frame):
    return {"x": frame["x"].to_numpy(), "y": frame["y"].to_numpy()}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("workers", [1, 2])
def test_frames_train_to_the_weights_of_their_rows(by_rows, count, workers):
    estimator = trained(XShards.partition(FRAME, count), workers)
    np.testing.assert_allclose(estimator.weights, by_rows.weights, rtol=1e-6)


def test_dicts_of_arrays_need_no_names(by_rows):
    shards = XShards.partition(arrays(FRAME), 3)
    estimator = trained(shards, features=None, labels=None)
    np.testing.assert_allclose(estimator.weights, by_rows.weights, rtol=1e-6)
    found = estimator.evaluate(shards, features=None, labels=None, batch_size=8)
    expected = by_rows.evaluate(FRAME, batch_size=8)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("cut", [0, 11])
def test_predictions_are_in_their_shards(by_rows, cut):
    """Some shards, or the first ones, have no rows."""
    frames = XShards.partition(FRAME, 6).transform_shard(lambda one: one[one.index >= -1])
    frames = frames.transform_shard(lambda one, cut: one[one["x"] * 60 >= cut], cut)
    predicted = by_rows.predict(frames)
    assert isinstance(predicted, XShards)
    found = predicted.collect()
    for one, given in zip(found, frames.collect(), strict=True):
        pd.testing.assert_frame_equal(one[["x", "y", "t"]], given)
        expected = given["x"].astype(np.float32) * by_rows.weights[0]
        np.testing.assert_allclose(one["prediction"], expected, rtol=1e-5)


def test_predictions_of_arrays_are_an_array_more(by_rows):
    shards = XShards.partition({"x": FRAME["x"].to_numpy(), "id": np.arange(60)}, 4)
    found = by_rows.predict(shards, features=None).collect()
    for one in found:
        assert list(one) == ["x", "id", "prediction"] and one["x"].dtype == np.float64
        expected = one["x"].astype(np.float32) * by_rows.weights[0]
        np.testing.assert_allclose(one["prediction"], expected, rtol=1e-5)
    assert np.concatenate([one["id"] for one in found]).tolist() == list(range(60))


def test_no_rows_at_all_get_no_predictions(by_rows):
    none = XShards.partition(FRAME, 2).transform_shard(lambda one: one[:0])
    assert [len(one["prediction"]) for one in by_rows.predict(none).collect()] == [0, 0]


def test_validation_rows_may_be_of_any_form(by_rows, spark):
    shards = XShards.partition(FRAME, 3)
    estimator = FakeEstimator.of(linear())
    stats = estimator.fit(shards, epochs=1, validation=FRAME)
    other = FakeEstimator.of(linear())
    told = other.fit(spark.createDataFrame(FRAME), epochs=1, validation=shards, shuffle=True)
    assert stats["train_val_loss"] == pytest.approx(told["train_val_loss"])


def test_what_fails_on_the_way_is_one_error():
    def late(one):
        return 1 / 0 if one["x"].iloc[0] > 0.4 else one

    shards = XShards.partition(FRAME, 3).transform_shard(late)
    with pytest.raises(ShardError) as caught:
        trained(shards)
    lines = str(caught.value).splitlines()
    assert lines[0] == "shard 2: ZeroDivisionError: division by zero"
    assert "in late" in lines[1] and len(lines) == 3


def test_other_types_in_a_later_shard_name_it():
    def odd(one):
        return one if one["x"].iloc[0] < 0.4 else one.assign(x=one["x"].astype(str))

    shards = XShards.partition(FRAME, 3).transform_shard(odd)
    with pytest.raises(ShardError, match="shard 2: column 'x' is string, and float in the first"):
        trained(shards)


@pytest.mark.parametrize(
    ("shards", "columns", "error", "said"),
    [
        (lambda: XShards.partition(FRAME, 2), {"features": ["nix"]}, ColumnError, "column 'nix'"),
        (lambda: XShards.partition(np.ones(4), 2), {}, OrcaError, "shard 0: the shard is of type"),
        (
            lambda: XShards.partition({"x": np.ones(4), "y": np.ones(4)}, 2).transform_shard(
                lambda one: {"x": one["x"], "y": one["y"][:1]}
            ),
            {"features": None, "labels": None},
            OrcaError,
            "shard 0: arrays of one shard differ in rows: x has 2, y has 1",
        ),
    ],
)
def test_wrong_shards_are_named(shards, columns, error, said):
    with pytest.raises(error, match=said):
        trained(shards(), **columns)


def test_a_column_of_predictions_that_is_there_is_refused(by_rows):
    shards = XShards.partition(FRAME.assign(prediction=1), 2)
    with pytest.raises(ColumnError, match="already has a column 'prediction'"):
        by_rows.predict(shards)
