"""What `plan` tells, against what `fit` then does."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests import jobs
from tests.fake_estimator import FakeEstimator, linear
from tests.learn.test_forms import COMMON, NAMED, TABLE, estimator
from zoo.orca.driver import early_child, stage
from zoo.orca.driver.session.cluster import is_connect
from zoo.orca.driver.storage import load_state, save_state
from zoo.orca.errors import OrcaError
from zoo.orca.wire.packing import GRADIENT_BYTES, State

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    frame = spark.range(100).select((F.col("id") / 100).cast("float").alias("x"))
    return frame.withColumn("y", F.col("x") * 2)


@pytest.fixture
def no_job(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nothing that a plan does may start a job."""
    monkeypatch.setattr(stage, "ship_package", lambda spark: pytest.fail("a stage began"))
    monkeypatch.setattr(early_child, "begin", lambda *given: pytest.fail("a child began"))
    with jobs.no_job(spark):
        yield


def test_nothing_runs_and_nothing_changes(rows: DataFrame, no_job: Any) -> None:
    est = FakeEstimator.of(linear(), workers=2)
    plan = est.plan(rows, epochs=3, batch_size=16)
    assert (plan.workers, plan.hosts, plan.slots, plan.refused) == (2, 1, 4, ())
    assert (plan.rows, plan.steps, plan.gradient_bytes, plan.state_bytes) == (None,) * 4
    assert [(one.role, one.column, one.dtype, one.shape) for one in plan.columns] == [
        ("input", "x", "float32", ()),
        ("label", "y", "float32", ()),
    ]
    assert plan.row_bytes == 8 + 4 + 4
    assert est._state is None


def test_what_it_tells_is_what_fit_does(rows: DataFrame) -> None:
    est = FakeEstimator.of(linear(), workers=2)
    plan = est.plan(rows, batch_size=16, count=True)
    assert (plan.rows, plan.steps, plan.windows) == (100, 7, False)
    stats = est.fit(rows, batch_size=16)
    assert plan.order == stats.order == "canonical"
    assert est._steps_done == plan.steps
    known = est.plan(rows)
    assert known.state_bytes == est._state.nbytes
    assert known.gradient_bytes == est.weights.nbytes
    assert known.is_trained


def test_a_state_that_does_not_tell_its_gradients_is_helped_by_a_build(rows: DataFrame) -> None:
    est = FakeEstimator.of(linear(), workers=2)
    told = {"framework": "fake", "epoch": 1, "step": 3}
    state = State({"weights/w": np.ones(1), "more": np.ones(9)}, told)
    est._state = state
    assert est.plan(rows).gradient_bytes is None
    plan = est.plan(rows, build=True)
    assert (plan.gradient_bytes, plan.state_bytes, plan.is_trained) == (8, state.nbytes, True)
    assert est._state is state


@pytest.mark.classic("only there does a plan tell its partitions")
def test_why_rows_move_or_stay(rows: DataFrame, tmp_path: Path) -> None:
    est = FakeEstimator.of(linear(), workers=2)
    two = rows.repartition(2)
    stays = est.plan(two)
    assert (stays.moves, stays.order) == (False, est.fit(two).order)
    assert "one partition for each of 2 workers" in stays.why
    assert "3 partitions, and there are 2 workers" in est.plan(rows.repartition(3)).why
    assert "shuffle=True" in est.plan(two, shuffle=True).why
    assert "validation rows" in est.plan(two, validation=two).why
    assert "only running" in est.plan(rows.groupBy("x").agg(F.sum("y").alias("y"))).why
    assert "from outside" in est.plan({"x": np.ones(4), "y": np.ones(4)}).why
    elastic = FakeEstimator.of(linear(), workers=2, min_workers=1, model_dir=str(tmp_path))
    assert "min_workers" in elastic.plan(two).why
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("budget", [100 * 16 // 2 - 1, 100 * 16])
def test_windows_are_foretold(spark: SparkSession, rows: DataFrame, budget: int) -> None:
    est = FakeEstimator.of(linear(), workers=2)
    spark.conf.set("spark.orca.data.memory", str(budget))
    try:
        plan = est.plan(rows.repartition(3), batch_size=4, count=True)
        assert plan.windows == (budget < 100 * 16 // 2)
        assert plan.order == est.fit(rows.repartition(3), batch_size=4).order
    finally:
        spark.conf.unset("spark.orca.data.memory")


def test_all_that_fit_refuses_is_told_at_once(
    spark: SparkSession, rows: DataFrame, no_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.orca.learn.keras import Estimator

    monkeypatch.setattr("zoo.orca.learn.arguments.is_there", lambda package: package != "jax")
    est = Estimator.from_keras(num_workers=9, keras_backend="torch")
    est._options.environment["KERAS_BACKEND"] = "jax"
    given: dict[str, Any] = {
        "feature_cols": ["x", "missing", ["absent", "gone"], "when"],
        "label_cols": "nowhere",
        "epochs": 0,
        "batch_size": "32",
        "steps_per_epoch": 1.5,
        "class_weight": [1],
        "callbacks": 3,
        "verbose": "loud",
        "name": "",
        "checkpoint_steps": 5,
        "checkpoint_seconds": -1,
        "shuffle": False,
        "validation_freq": 0,
        "validation_data": rows.drop("x"),
    }
    frame = rows.withColumn("when", F.current_timestamp())
    plan = est.plan(frame, **given, count=True, build=True)
    words = ["'missing'", "'absent'", "'gone'", "TimestampType|timestamp", "'nowhere'", "epochs"]
    words += ["batch_size", "steps_per_epoch", "class_weight", "callbacks", "verbose", "name=''"]
    words += ["checkpoint_steps=5", "checkpoint_seconds", "shuffle=False", "validation_freq"]
    words += ["validation_data: there is no column 'x'", "no model yet"]
    words += ["9 workers need 9 slots"]
    if not is_connect(spark):  # a server's workers run the Python that it was started with
        words += ["package 'jax'"]
    lines = [str(one).partition("\n")[0] for one in plan.refused]
    for word in words:
        assert any(any(w in line for w in word.split("|")) for line in lines), (word, lines)
    assert len(lines) == len(words), lines
    assert [one.column for one in plan.columns] == ["x"]
    with pytest.raises(OrcaError) as caught:
        est.fit(frame, **given)
    assert str(caught.value) == str(plan.refused[0])


BAD: list[tuple[Any, dict[str, Any], list[str]]] = [
    (3, {"epochs": 0}, ["data must be", "epochs"]),
    ({"x": [1.0], "y": [1.0, 2.0]}, {"epochs": 0}, ["numbers of rows", "epochs"]),
    (lambda a: None, {"batch_size": 0}, ["is the creator", "batch_size"]),
    (
        pd.DataFrame({"x": [1.0, None], "y": pd.to_datetime(["2020", "2021"])}),
        {"feature_cols": ["x"], "label_cols": ["y"]},
        ["holds nulls", "'y'"],
    ),
]


@pytest.mark.parametrize(("data", "given", "words"), BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_data_of_other_forms_is_refused_beside_the_rest(
    spark: SparkSession, data: Any, given: dict[str, Any], words: list[str], framework: str
) -> None:
    plan = estimator(framework).plan(data, **{**COMMON, **given})
    lines = [str(one).partition("\n")[0] for one in plan.refused]
    assert len(lines) == len(words), lines
    assert all(word in line for word, line in zip(words, lines, strict=True)), lines
    assert not plan.stopped


def test_rows_of_a_creator_are_known_to_its_loader_alone(spark: SparkSession) -> None:
    plan = estimator("torch").plan(lambda config, batch_size: [], batch_size=4, count=True)
    assert plan.is_created and plan.rows is None and not plan.refused


def test_a_stream_is_refused_beside_the_rest(spark: SparkSession) -> None:
    stream = spark.readStream.format("rate").load().withColumn("x", F.lit(1.0))
    plan = FakeEstimator.of(linear(), workers=9).plan(stream, batch_size=4, count=True)
    lines = [str(one).partition("\n")[0] for one in plan.refused]
    words = ["there is no column 'y'", "streaming", "9 workers"]
    assert all(word in line for word, line in zip(words, lines, strict=True)), lines


@pytest.mark.classic("a client does not look at paths of its server")
def test_a_place_that_cannot_be_written_is_told_and_none_is_made(
    rows: DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    est = FakeEstimator.of(linear())
    bad = est.plan(rows, run="a", model_dir=str(tmp_path / "file" / "deeper"))
    assert "cannot be written" in str(bad.refused[0])
    assert not est.plan(rows, run="a", model_dir=str(tmp_path / "not" / "there")).refused
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_a_model_is_built_for_its_size(spark: SparkSession, framework: str, tmp_path: Path) -> None:
    est = estimator(framework)
    plan = est.plan(TABLE, **NAMED, build=True)
    assert (plan.rows, plan.steps) == (203, 11)
    # Two dense layers of 4 x 3 and 3 x 1 numbers, with 3 and 1 biases.
    assert plan.gradient_bytes == 4 * (12 + 3 + 3 + 1)
    assert est._state is None
    est.fit(TABLE, **NAMED)
    after = est.plan(TABLE, **NAMED)
    assert after.gradient_bytes == plan.gradient_bytes
    assert after.state_bytes == est._state.nbytes == State.from_bytes(est._state.to_bytes()).nbytes
    assert after.columns[0].shape == (4,)
    assert after.windows is False
    save_state(est._state, str(tmp_path / "state"))
    assert load_state(str(tmp_path / "state")).meta[GRADIENT_BYTES] == plan.gradient_bytes
