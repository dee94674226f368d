"""fit, evaluate and predict through Spark with a framework in numpy: the engine's equalities."""

import math
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, FloatType, StructField, StructType

from tests.fake_estimator import FakeEstimator, linear
from tests.jobs import no_job
from zoo.orca.driver.session.cluster import is_connect
from zoo.orca.errors import (
    ColumnError,
    DataError,
    InvalidInputError,
    SlotsError,
    StateError,
    WorkerError,
)
from zoo.orca.learn.files import recorded as recorded_module

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """101 rows of y = 2 x0 - x1 with some noise, both inputs in one array column and apart."""
    x0, x1 = F.rand(1) - 0.5, F.rand(2) - 0.5
    return (
        spark.range(101)
        .select("id", x0.alias("x"), x1.alias("z"), (0.1 * F.rand(3)).alias("noise"))
        .withColumn("y", 2 * F.col("x") - F.col("z") + F.col("noise"))
        .withColumn("both", F.array("x", "z"))
        .cache()
    )


def test_full_batches_are_equal_on_every_number_of_workers(rows: DataFrame) -> None:
    # One batch is all rows, so the global batches are the same however the rows are placed.
    trained = {}
    for workers in (1, 2, 3):
        estimator = FakeEstimator.of(linear(2), workers)
        stats = estimator.fit(rows, ["x", "z"], epochs=5, batch_size=101)
        trained[workers] = (estimator.weights, stats.history["loss"])
    for workers in (2, 3):
        np.testing.assert_allclose(trained[workers][0], trained[1][0], rtol=1e-12)
        np.testing.assert_allclose(trained[workers][1], trained[1][1], rtol=1e-12)


def test_an_array_column_equals_its_elements_as_columns(rows: DataFrame) -> None:
    apart, together = FakeEstimator.of(linear(2), 2), FakeEstimator.of(linear(2), 2)
    apart.fit(rows, ["x", "z"], batch_size=10)
    together.fit(rows, ["both"], batch_size=10)
    np.testing.assert_array_equal(apart.weights, together.weights)


def test_the_same_seed_gives_the_same_numbers(rows: DataFrame) -> None:
    first, second = FakeEstimator.of(linear(1), 2), FakeEstimator.of(linear(1), 2)
    first.fit(rows, epochs=2)
    second.fit(rows, epochs=2)
    np.testing.assert_array_equal(first.weights, second.weights)


def test_fit_goes_on_after_fit_and_after_load(rows: DataFrame, tmp_path) -> None:
    unbroken = FakeEstimator.of(linear(1), 2)
    unbroken.fit(rows, epochs=4)
    broken = FakeEstimator.of(linear(1), 2)
    broken.fit(rows, epochs=2)
    path = str(tmp_path / "below" / "state.ckpt")
    assert broken.save(path) == path
    loaded = FakeEstimator.of(linear(1), 2)
    loaded.load(path)
    broken.fit(rows, epochs=2)
    loaded.fit(rows, epochs=2)
    np.testing.assert_array_equal(broken.weights, unbroken.weights)
    np.testing.assert_array_equal(loaded.weights, unbroken.weights)


def test_a_state_too_large_for_the_results_goes_through_model_dir(
    rows: DataFrame, tmp_path: Path
) -> None:
    plain, routed = FakeEstimator.of(linear(1), 2), FakeEstimator.of(linear(1), 2)
    with pytest.raises(StateError, match=r"spark.driver.maxResultSize.*model_dir"):
        plain.fit(rows, max_state_bytes=1000)
    plain.fit(rows)
    routed.fit(rows, max_state_bytes=1000, model_dir=str(tmp_path), run="r")
    np.testing.assert_array_equal(routed.weights, plain.weights)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_are_removed_when_the_driver_has_the_state(
    rows: DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    removed = []

    def remove(directory: str) -> None:
        removed.append((directory, sorted(path.name for path in Path(directory).iterdir())))
        raise PermissionError("of somebody else")

    monkeypatch.setattr(recorded_module, "remove", remove)
    estimator = FakeEstimator.of(linear(1), 2)
    estimator.fit(rows, epochs=3, model_dir=str(tmp_path), run="r")
    names = ["00000001-0000000000.state", "00000002-0000000000.state"]
    assert removed == [(f"{tmp_path}/r", names)]
    assert f"its files in {tmp_path}/r cannot be removed: of somebody else" in caplog.text
    assert "Remove this directory by hand" in caplog.text
    estimator.fit(rows, epochs=3)  # without a model_dir there are none
    assert len(removed) == 1


@pytest.mark.classic("a client does not look at paths of its server")
def test_a_model_dir_that_cannot_be_written_is_refused_before_any_row_moves(
    spark: SparkSession, rows: DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    model_dir = str(tmp_path / "file" / "below")
    estimator = FakeEstimator.of(linear(1), 2)
    with no_job(spark), pytest.raises(InvalidInputError) as caught:
        estimator.fit(rows, epochs=1, model_dir=model_dir, run="r")
    first, way = str(caught.value).splitlines()
    assert first.startswith(f"model_dir={model_dir!r} cannot be written on {socket.gethostname()}")
    assert "Not a directory" in first and "may write to" in way
    estimator.fit(rows, epochs=2, model_dir=str(tmp_path / "new" / "below"), run="r")
    assert list((tmp_path / "new" / "below").iterdir()) == []


def test_a_model_dir_that_one_worker_cannot_write_is_refused_by_that_worker(
    rows: DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def block(directory: str, who: str, **fields: Any) -> None:
        # In the place of rank 1's probe, where the driver does not look.
        (tmp_path / "r" / "rank-1.partial").mkdir(parents=True)

    monkeypatch.setattr(recorded_module, "check_writable", block)
    trained = tmp_path / "trained"

    def on_step(rank: int, step: int) -> None:
        trained.touch()

    estimator = FakeEstimator.of(linear(1, on_step=on_step), 2)
    with pytest.raises(InvalidInputError) as caught:
        estimator.fit(rows, epochs=1, model_dir=str(tmp_path), run="r")
    first, way = str(caught.value).splitlines()
    assert first.startswith(f"model_dir={str(tmp_path)!r} cannot be written on 127.0.0.1: ")
    assert "Is a directory" in first and "may write to" in way
    assert list(tmp_path.iterdir()) == []


def test_a_failed_fit_leaves_nothing_in_model_dir(rows: DataFrame, tmp_path: Path) -> None:
    def on_step(rank: int, step: int) -> None:
        if step == 60:
            raise ValueError("after some epochs")

    estimator = FakeEstimator.of(linear(1, on_step=on_step), 2)
    with pytest.raises(WorkerError, match="after some epochs"):
        estimator.fit(rows, epochs=9, model_dir=str(tmp_path), run="r")
    assert list(tmp_path.iterdir()) == []


def test_what_a_job_prints_last_is_shown(
    rows: DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"line {number}" for number in range(3000)]

    def on_step(rank: int, step: int) -> None:
        if step == 12:
            print("\n".join(lines), end="")

    FakeEstimator.of(linear(1, on_step=on_step)).fit(rows, verbose=1)
    captured = capsys.readouterr()
    shown = (captured.out + captured.err).splitlines()
    assert [line for line in lines if not any(one.endswith(line) for one in shown)] == []


def test_stats_have_orcas_names_and_kerass_history(rows: DataFrame) -> None:
    stats = FakeEstimator.of(linear(1)).fit(rows, epochs=3, validation=rows.limit(20))
    assert set(stats) == {"train_loss", "train_val_loss"}
    assert [len(stats.history[name]) for name in ("loss", "val_loss")] == [3, 3]
    assert stats["train_loss"] == stats.history["loss"][-1]


def test_evaluate_is_exact_on_every_number_of_workers(rows: DataFrame) -> None:
    collected = rows.select("y").toPandas()["y"].to_numpy(np.float32)
    for workers in (1, 3):
        found = FakeEstimator.of(linear(1), workers).evaluate(rows)
        assert set(found) == {"validation_loss"}
        assert math.isclose(found["validation_loss"], float(np.mean(collected**2)), rel_tol=1e-6)


def test_predict_is_lazy_and_keeps_every_column(spark: SparkSession, rows: DataFrame) -> None:
    estimator = FakeEstimator.of(linear(1), 2)
    estimator.fit(rows)
    wide = rows.withColumn("a b.c", F.lit("odd name")).withColumn("m", F.create_map("x", "y"))
    with no_job(spark):
        predicted = estimator.predict(wide)
    assert predicted.columns == [*wide.columns, "prediction"]
    found = predicted.toPandas().sort_values("id")
    expected = found["x"].to_numpy(np.float32).astype(np.float64) * estimator.weights[0]
    np.testing.assert_allclose(found["prediction"], expected, rtol=1e-6)
    assert set(found["a b.c"]) == {"odd name"}


def test_predict_before_fit_uses_one_set_of_weights(rows: DataFrame) -> None:
    predicted = FakeEstimator.of(linear(1), 2).predict(rows, output_cols="guess")
    assert {row.guess for row in predicted.select("guess").collect()} == {0.0}


def test_predict_of_no_rows(rows: DataFrame) -> None:
    estimator = FakeEstimator.of(linear(1))
    estimator.fit(rows)
    assert estimator.predict(rows.where("id < 0")).collect() == []


def test_fewer_rows_than_workers(rows: DataFrame) -> None:
    estimator = FakeEstimator.of(linear(1), 3)
    stats = estimator.fit(rows.where("id = 7"), epochs=2)
    assert math.isfinite(stats["train_loss"])


def test_no_rows_is_an_error(rows: DataFrame) -> None:
    frames = [(2, rows.where("id < 0"))]
    if not is_connect(rows.sparkSession):
        # That of an RDD, whose partitions stay: there the workers find out.
        made = rows.sparkSession.createDataFrame([], "x double, y double")
        frames.append((made.rdd.getNumPartitions(), made))
    for workers, nothing in frames:
        with pytest.raises(DataError, match="no rows"):
            FakeEstimator.of(linear(1), workers).fit(nothing)
    with pytest.raises(DataError, match="validation_data has no rows"):
        FakeEstimator.of(linear(1), 2).fit(rows, validation=rows.where("id < 0"))


def test_nulls_are_an_error_that_counts_them(spark: SparkSession, rows: DataFrame) -> None:
    holes = rows.withColumn("x", F.when(F.col("id") % 10 == 3, None).otherwise(F.col("x")))
    with pytest.raises(DataError, match=r"'x'.*10 of 101"):
        FakeEstimator.of(linear(1), 2).fit(holes)


def test_ragged_arrays_are_an_error(rows: DataFrame) -> None:
    ragged = rows.withColumn("both", F.expr("if(id = 5, array(x), both)"))
    with pytest.raises(DataError, match="'both'"):
        FakeEstimator.of(linear(2), 2).fit(ragged, ["both"])


def test_bad_columns_are_refused_before_any_job(spark: SparkSession, rows: DataFrame) -> None:
    with no_job(spark), pytest.raises(ColumnError, match="nosuch"):
        FakeEstimator.of(linear(1)).fit(rows, ["nosuch"])


def test_more_workers_than_slots(rows: DataFrame) -> None:
    with pytest.raises(SlotsError, match="50 workers need 50 slots"):
        FakeEstimator.of(linear(1), 50).fit(rows)


def test_a_prediction_column_that_is_there_already(rows: DataFrame) -> None:
    estimator = FakeEstimator.of(linear(1))
    estimator.fit(rows)
    with pytest.raises(ColumnError, match="Prediction"):
        estimator.predict(rows.withColumn("Prediction", F.lit(1)), output_cols="Prediction")
    with pytest.raises(InvalidInputError, match="1 outputs"):
        estimator.predict(rows, output_cols=["a", "b"])


def test_saving_nothing_and_loading_rubbish(tmp_path, monkeypatch) -> None:
    estimator = FakeEstimator.of(linear(1))
    monkeypatch.setattr("zoo.orca.learn.files.made.known_session", lambda: None)
    with pytest.raises(StateError, match="nothing to save"):
        estimator.save(str(tmp_path / "x"))
    (tmp_path / "rubbish").write_bytes(b"\x00" * 100)
    for name in ("rubbish", "missing"):
        with pytest.raises(StateError, match=name):
            estimator.load(str(tmp_path / name))


def test_a_schema_survives_predict(spark: SparkSession) -> None:
    schema = StructType(
        [
            StructField("x", DoubleType(), False, {"a": "note"}),
            StructField("X2", FloatType()),
        ]
    )
    frame = spark.createDataFrame([(1.0, 2.0)], schema)
    predicted = FakeEstimator.of(linear(1)).predict(frame)
    assert predicted.schema["x"].metadata == {"a": "note"}
    assert [field.dataType for field in predicted.schema.fields[:2]] == [DoubleType(), FloatType()]


def test_a_warm_child_serves_whichever_rank_its_python_worker_gets(
    rows: DataFrame, tmp_path: Path
) -> None:
    def on_step(rank: int, step: int) -> None:
        cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        (tmp_path / f"{os.getpid()} {rank} {cpus}").touch()

    estimator = FakeEstimator.of(linear(on_step=on_step), 2, cpu_binding=True)
    # Which Python workers serve a job, and which rank each gets, is chance: of those that the
    # session's slots have come to, in eight jobs most get both ranks.
    for _ in range(8):
        estimator.fit(rows)
    seen = {tuple(path.name.split()) for path in tmp_path.iterdir()}
    # Workers hand children on, so there are two; two more where a job comes before they are idle.
    assert len({pid for pid, *_ in seen}) <= 4
    processors = {rank: {cpus for _, r, cpus in seen if r == rank} for rank in "01"}
    assert all(len(cpus) == 1 for cpus in processors.values())
    if len(os.sched_getaffinity(0)) > 1:
        assert processors["0"] != processors["1"]
