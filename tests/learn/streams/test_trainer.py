"""Training on streams: each micro-batch once, whatever ends the program."""

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.connect.server import environment
from tests.fake_estimator import FakeEstimator, linear
from tests.learn.streams import killed_program
from tests.learn.streams.killed_program import MOMENTS, STREAM
from zoo.orca.driver.storage import load_state
from zoo.orca.errors import InvalidInputError, StateError, WorkerError
from zoo.orca.frameworks.common.cursor import cursor, first_step
from zoo.orca.learn.streams import trainer as trainer_module
from zoo.orca.learn.streams.trainer import _at_a_pass
from zoo.orca.wire.packing import State

pytestmark = pytest.mark.timeout(120)
programs = pytest.mark.classic("its programs have sessions of their own")

ARGUMENTS: dict[str, Any] = {"epochs": 2, "batch_size": 8}
BATCHES = 7


@pytest.fixture(scope="module")
def parts(spark: SparkSession) -> list[DataFrame]:
    """Batches of 20 rows or so, each of rows of its own."""
    return [
        spark.range(0, 20 + number, 1, 3)
        .select((F.rand(number) - 0.5).alias("x"))
        .withColumn("y", (2 + number) * F.col("x"))
        .cache()
        for number in range(BATCHES)
    ]


def estimator() -> FakeEstimator:
    return FakeEstimator.of(linear(1), 2)


def fitted(parts: list[DataFrame], **arguments: Any) -> FakeEstimator:
    """One fit after another."""
    est = estimator()
    for part in parts:
        est.fit(part, **{**ARGUMENTS, **arguments})
    return est


def place(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_state(str(path)).meta["stream"]
    return found


def test_batches_are_fits_and_what_comes_again_is_not(parts: list[DataFrame], tmp_path: Path):
    path = tmp_path / "below" / "state"
    est = estimator()
    trainer = est.batch_trainer(str(path), **ARGUMENTS)
    for number, part in enumerate(parts[:3]):
        trainer(part, number)
        assert place(path)["batch"] == number
    trainer(parts[2], 2)
    expected = fitted(parts[:3])
    np.testing.assert_array_equal(est.weights, expected.weights)
    # Another process, which knows the file alone.
    anew = estimator()
    goes_on = anew.batch_trainer(str(path), **ARGUMENTS)
    np.testing.assert_array_equal(anew.weights, expected.weights)
    goes_on(parts[2], 2)
    goes_on(parts[3], 3)
    np.testing.assert_array_equal(anew.weights, fitted(parts[:4]).weights)


def test_a_file_that_comes_later_is_gone_on_from(parts: list[DataFrame], tmp_path: Path) -> None:
    # As over Spark Connect, where a trainer is made before the process that calls it.
    late = estimator().batch_trainer(str(tmp_path / "state"), **ARGUMENTS)
    first = estimator().batch_trainer(str(tmp_path / "state"), **ARGUMENTS)
    first(parts[0], 0)
    late(parts[0], 0)
    late(parts[1], 1)
    found = load_state(str(tmp_path / "state")).tensors["weights/w"]
    np.testing.assert_array_equal(found, fitted(parts[:2]).weights)


def test_batches_without_rows_are_skipped(parts: list[DataFrame], tmp_path: Path) -> None:
    est = estimator()
    trainer = est.batch_trainer(str(tmp_path / "state"), **ARGUMENTS)
    trainer(parts[0].limit(0), 0)
    assert not (tmp_path / "state").exists()
    trainer(parts[0], 1)
    trainer(parts[0].where("x > 9"), 2)
    trainer(parts[1], 3)
    np.testing.assert_array_equal(est.weights, fitted(parts[:2]).weights)


def test_what_fails_leaves_the_batch_to_come_again(
    parts: list[DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_step(rank: int, step: int) -> None:
        if (tmp_path / "fail").exists():
            raise ValueError("within the batch")

    est = FakeEstimator.of(linear(1, on_step=on_step), 2)
    trainer = est.batch_trainer(str(tmp_path / "state"), **ARGUMENTS)
    trainer(parts[0], 0)
    (tmp_path / "fail").touch()
    with pytest.raises(WorkerError, match="within the batch"):
        trainer(parts[1], 1)
    (tmp_path / "fail").unlink()
    with monkeypatch.context() as full:
        full.setattr(est, "_write", lambda state, path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trainer(parts[1], 1)
    assert place(tmp_path / "state")["batch"] == 0
    np.testing.assert_array_equal(est.weights, fitted(parts[:1]).weights)
    trainer(parts[1], 1)
    np.testing.assert_array_equal(est.weights, fitted(parts[:2]).weights)


def test_each_batch_begins_a_pass() -> None:
    # As many rows as before: within a pass, the next fit would leave out what the last has seen.
    plan: Any = SimpleNamespace(
        rows=20, batch_size=8, window=None, is_canonical=True, counts=(10, 10), steps_per_pass=3
    )
    assert _at_a_pass(None) is None
    for step, expected in ((0, 12), (2, 15)):
        state = State({}, {"cursor": cursor(plan, 12 + step), "epoch": 1})
        assert first_step(state, plan) == 12 + step
        begun = _at_a_pass(state)
        assert first_step(begun, plan) == expected
        assert begun is not None and begun.meta["epoch"] == 1


def test_a_path_is_of_one_stream(
    parts: list[DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    trainer = estimator().batch_trainer(str(path), **ARGUMENTS)
    monkeypatch.setattr(trainer_module, "_query_of", lambda batch: "one")
    trainer(parts[0], 0)
    trainer(parts[0], 1)
    assert place(path) == {"batch": 1, "query": "one"}
    with pytest.raises(StateError) as caught:
        trainer(parts[0], 0)
    first, way = str(caught.value).splitlines()
    assert first.startswith(f"{path} has seen batch 1, and Spark gives batch 0: checkpointLocation")
    monkeypatch.setattr(trainer_module, "_query_of", lambda batch: "two")
    with pytest.raises(StateError, match="has seen batch 1 of another stream, whose id is one"):
        trainer(parts[0], 1)
    # The way out.
    assert "name another path for a new one; est.load of the old path before" in way
    est = estimator()
    est.load(str(path))
    other = est.batch_trainer(str(tmp_path / "other"), **ARGUMENTS)
    other(parts[1], 0)
    assert place(tmp_path / "other") == {"batch": 0, "query": "two"}
    np.testing.assert_array_equal(est.weights, fitted([parts[0], parts[0], parts[1]]).weights)


def test_two_trainers_at_one_path_lose_nothing(parts: list[DataFrame], tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    one, other = (estimator().batch_trainer(path, **ARGUMENTS) for _ in range(2))
    one(parts[0], 0)
    one(parts[1], 1)
    other._last = trainer_module.Place()  # it has looked before the first one wrote
    with pytest.raises(StateError, match="written by another stream .*: it has batch 1 .*\n"):
        other(parts[2], 0)
    assert place(tmp_path / "state")["batch"] == 1


def test_an_estimator_learns_from_one_stream(parts: list[DataFrame], tmp_path: Path) -> None:
    est = estimator()
    one = est.batch_trainer(str(tmp_path / "one"), **ARGUMENTS)
    one(parts[0], 0)
    est.batch_trainer(str(tmp_path / "other"), **ARGUMENTS)(parts[1], 0)
    with pytest.raises(StateError, match="batch_trainer of .*other since .*\nMake an estimator"):
        one(parts[2], 1)
    with pytest.raises(InvalidInputError, match="path must be a path .*, got None\n"):
        est.batch_trainer(None, **ARGUMENTS)  # type: ignore[arg-type]


def test_what_cannot_be_is_refused_before_the_stream_starts(
    parts: list[DataFrame], tmp_path: Path
) -> None:
    est = estimator()
    with pytest.raises(InvalidInputError, match="cannot call fit.*'data'") as caught:
        est.batch_trainer(str(tmp_path / "state"), data=parts[0])
    assert "est.batch_trainer(path, epochs=1)" in str(caught.value)
    with pytest.raises(InvalidInputError, match="ends in .keras"):
        est.batch_trainer(str(tmp_path / "state.keras"), epochs=1)
    est.fit(parts[0])
    before = est.weights
    est.save(str(tmp_path / "saved"))
    other = estimator()
    with pytest.raises(StateError, match="was not written by batch_trainer") as refused:
        other.batch_trainer(str(tmp_path / "saved"), epochs=1)
    assert other._state is None
    other.load(str(tmp_path / "saved"))
    assert f"est.load({str(tmp_path / 'saved')!r}) goes on" in str(refused.value)
    np.testing.assert_array_equal(other.weights, before)


@pytest.mark.classic("a server trains, and not the estimator that is here")
def test_a_stream_is_trained_on(spark: SparkSession, parts: list[DataFrame], tmp_path: Path):
    rows = tmp_path / "rows"

    def run(checkpoint: str, est: FakeEstimator) -> None:
        stream = spark.readStream.schema("x double, y double").option("maxFilesPerTrigger", 1)
        writer = stream.parquet(str(rows)).where("y > -90").writeStream
        writer = writer.foreachBatch(est.batch_trainer(str(tmp_path / "state"), **ARGUMENTS))
        writer = writer.option("checkpointLocation", str(tmp_path / checkpoint))
        query = writer.trigger(availableNow=True).start()
        assert query.awaitTermination(90)

    for part in parts[:2]:
        part.coalesce(1).write.mode("append").parquet(str(rows))
    run("checkpoint", estimator())
    nothing = parts[0].withColumn("y", F.lit(-99.0))
    for part in (nothing, parts[2]):
        part.coalesce(1).write.mode("append").parquet(str(rows))
    est = estimator()
    run("checkpoint", est)
    np.testing.assert_array_equal(est.weights, fitted(parts[:3]).weights)
    found = place(tmp_path / "state")
    assert found["batch"] == 3 and len(found["query"]) == 36
    with pytest.raises(StreamingQueryException, match="has seen batch 3 of another stream"):
        run("new", estimator())


def written(parts: list[DataFrame], directory: Path) -> FakeEstimator:
    """Write a file for each batch; return an estimator that nothing has killed."""
    for part in parts:
        part.coalesce(1).write.mode("append").parquet(str(directory / "rows"))
    return fitted(parts)


def program(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", killed_program.__name__, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment(),
    )


@programs
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_program_that_is_killed_has_trained_each_batch_once(
    parts: list[DataFrame], tmp_path: Path
) -> None:
    unkilled = written(parts[:4], tmp_path)
    for what, done in (("1:training", 0), ("2:written", 2)):
        killed = program(tmp_path, what)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert place(tmp_path / "state")["batch"] == done
    ended = program(tmp_path, "9:never")
    assert ended.stdout == "all batches are trained\n", ended.stderr
    found = load_state(str(tmp_path / "state"))
    assert found.meta["stream"]["batch"] == 3
    np.testing.assert_array_equal(found.tensors["weights/w"], unkilled.weights)


@programs
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_between_any_two_steps_a_kill_changes_nothing(
    parts: list[DataFrame], tmp_path: Path, connect_server: str
) -> None:
    unkilled = written(parts, tmp_path)
    for number, moment in enumerate(MOMENTS):
        killed = program(tmp_path, f"{number}:{moment}", connect_server)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        is_in = MOMENTS.index(moment) >= MOMENTS.index("written")
        if number or is_in:
            assert place(tmp_path / "state")["batch"] == (number if is_in else number - 1), moment
    ended = program(tmp_path, "9:never", connect_server)
    assert ended.stdout == "all batches are trained\n", ended.stderr
    found = load_state(str(tmp_path / "state"))
    assert found.meta["stream"] == {"batch": BATCHES - 1, "query": ""}
    np.testing.assert_array_equal(found.tensors["weights/w"], unkilled.weights)


@programs
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_over_spark_connect_the_server_trains(
    parts: list[DataFrame], tmp_path: Path, connect_server: str
) -> None:
    first = written(parts[:2], tmp_path)
    for _ in range(2):
        ended = program(tmp_path, f"9:{STREAM}", connect_server)
        assert ended.stdout == "all batches are trained\n", ended.stderr
        np.testing.assert_array_equal(
            load_state(str(tmp_path / "state")).tensors["weights/w"], first.weights
        )
