"""A model as MLflow's python function: its process, and the forms of its answers."""

import gc
import os
import signal

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

import zoo.orca.mlflow as orca
from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.errors import ColumnError, StateError, WorkerDiedError
from zoo.orca.mlflow.artifact import DIRECTORY
from zoo.orca.mlflow.pyfunc import OrcaFunction, loaded
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.job import ModelSpec, PredictJob
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.worker.task import warm_children


@pytest.fixture(scope="module")
def saved(spark, tmp_path_factory):
    """The directory of a linear model, and its estimator."""
    rows = spark.range(40).select(
        F.col("id").cast("float").alias("x"), (F.col("id") * 2).cast("float").alias("y")
    )
    est = FakeEstimator.of(linear(rate=0.0001))
    est.fit(rows, epochs=3)
    path = str(tmp_path_factory.mktemp("models") / "linear")
    orca.save_model(est, path)
    return est, path


@pytest.fixture
def function(saved):
    return loaded(f"{saved[1]}/{DIRECTORY}")


ROWS = pd.DataFrame({"x": np.arange(5, dtype=np.float32)})


def test_frames_and_dicts_are_predicted_as_the_estimator_does(saved, function):
    expected = saved[0].predict(ROWS)["prediction"].to_numpy()
    np.testing.assert_array_equal(function.predict(ROWS), expected)
    np.testing.assert_array_equal(function.predict({"x": ROWS["x"].to_numpy()}), expected)
    assert function.predict(ROWS.iloc[:0]).shape == (0,)
    # Once more, by the same process.
    assert function.predict(ROWS[::-1], params={}).tolist() == expected[::-1].tolist()


def test_many_rows_go_in_parts(function, monkeypatch):
    expected = function.predict(ROWS)
    monkeypatch.setattr("zoo.orca.mlflow.pyfunc._ROWS", 2)
    np.testing.assert_array_equal(function.predict(ROWS), expected)


def test_a_process_that_died_is_told_of_once(function):
    expected = function.predict(ROWS)
    os.kill(function._child._child.pid, signal.SIGKILL)
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        function.predict(ROWS)
    np.testing.assert_array_equal(function.predict(ROWS), expected)


def test_a_column_that_is_missing_costs_no_process(function):
    function.predict(ROWS)
    pid = function._child._child.pid
    with pytest.raises(ColumnError, match="no column 'x'"):
        function.predict(pd.DataFrame({"z": [1.0]}))
    function.predict(ROWS)
    assert function._child._child.pid == pid


def test_the_process_ends_with_the_function(saved):
    made = loaded(f"{saved[1]}/{DIRECTORY}")
    made.predict(ROWS)
    child = made._child._child
    del made
    gc.collect()
    assert not child.alive


def test_in_a_task_of_spark_the_process_serves_the_next(saved, monkeypatch):
    monkeypatch.setattr("zoo.orca.mlflow.pyfunc._task", FakeTask)
    first = loaded(f"{saved[1]}/{DIRECTORY}")
    first.predict(ROWS)
    pid = first._child._child.pid
    del first
    gc.collect()
    second = loaded(f"{saved[1]}/{DIRECTORY}")
    second.predict(ROWS)
    assert second._child._child.pid == pid and second._job.threads == 3
    del second
    gc.collect()
    warm_children.stop_all()


class FakeTask:
    """What a function finds in a task of Spark's."""

    def cpus(self) -> int:
        return 3


def test_settings_of_the_call_go_into_the_job(saved):
    made = loaded(f"{saved[1]}/{DIRECTORY}", {"threads": 2, "batch_size": 3, "heartbeat": 9})
    assert (made._job.threads, made._job.batch_size, made._heartbeat) == (2, 3, 9.0)


def test_a_directory_of_something_else_is_refused(tmp_path):
    with pytest.raises(StateError, match=r"holds no model of zoo\.orca\.mlflow.*\nName a model"):
        loaded(str(tmp_path))


def test_several_outputs_come_by_their_names(monkeypatch):
    outputs = (
        OutputSpec(name="a", dtype="float32", row_shape=(2,)),
        OutputSpec(name="b", dtype="uint8", row_shape=()),
    )
    job = PredictJob(
        model=ModelSpec(framework="fake", creator=b"", config=b""),
        columns=FeatureSpec(features=(ColumnSpec(name="x", dtype="float32"),)),
        state=None,
        seed=0,
        outputs=outputs,
    )
    made = OrcaFunction(job, ("prediction_a", "prediction_b"), 1.0)
    answers = [np.ones((5, 2), np.float32), np.arange(5, dtype=np.uint8)]
    monkeypatch.setattr(made, "_asked", lambda batch: answers)
    found = made.predict(ROWS)
    assert list(found) == ["prediction_a", "prediction_b"]
    assert found["prediction_a"].shape == (5, 2)
    assert found["prediction_b"].dtype == np.int16  # Spark has no numbers without a sign
