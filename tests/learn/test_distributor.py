"""`zoo.orca.learn.Distributor` through Spark: a user's day."""

import functools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator
from zoo.orca.data import column
from zoo.orca.errors import (
    ColumnError,
    CreatorError,
    DataError,
    InvalidInputError,
    WorkerDiedError,
    WorkerError,
)
from zoo.orca.frameworks.fake import LinearModel
from zoo.orca.learn import Distributor
from zoo.orca.wire.processors import usable_processors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROWS = 101
COLUMNS: dict[str, Any] = {"feature_cols": ["x", "word"], "label_cols": "y"}


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    frame = spark.range(ROWS).select(
        F.array(F.rand(1).cast("float"), F.rand(2).cast("float")).alias("x"),
        F.concat(F.lit("w"), F.col("id")).alias("word"),
        F.col("id").alias("y"),
    )
    return frame.cache()


def run(workers: int, train: Any, *args: Any, options: Any = None, **given: Any) -> Any:
    return Distributor(workers, **(options or {})).run(train, *args, verbose=0, **given)


def descended(worker: Any, batch_size: int, epochs: int, rate: float) -> Any:
    """Linear regression as the framework in numpy does it, by hand."""
    weights, losses, seen = np.zeros(2), [], []
    for epoch in range(epochs):
        total = np.zeros(2)
        for batch in worker.rows.batches(batch_size, epoch):
            inputs = batch["x"].astype(np.float64)
            errors = inputs @ weights - batch["y"]
            sums = {"g": 2 * errors @ inputs, "e": np.array([errors @ errors, len(errors)])}
            sums = worker.all_reduce(sums)
            weights = weights - rate * sums["g"] / batch.of
            total += sums["e"]
            seen.append(np.sort(np.concatenate(worker.all_gather(batch["y"]))))
        losses.append(total[0] / total[1])
        worker.report(epoch + 1, epochs, loss=losses[-1])
    return {"weights": weights, "losses": losses, "seen": seen, "size": worker.size}


@pytest.fixture(scope="module")
def alone(rows: DataFrame) -> Any:
    return run(1, descended, rows, **COLUMNS, batch_size=12, epochs=3, rate=1e-3)


@pytest.mark.parametrize("workers", [2, 3])
def test_a_loop_of_ones_own_equals_one_worker(rows: DataFrame, alone: Any, workers: int) -> None:
    # Rows that already have a partition for each worker would stay there.
    given = {**COLUMNS, "shuffle": True}
    found = run(workers, descended, rows, **given, batch_size=12, epochs=3, rate=1e-3)
    assert found["size"] == workers and alone["size"] == 1
    for one, other in zip(found["seen"], alone["seen"], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(found["weights"], alone["weights"], rtol=1e-12)
    np.testing.assert_allclose(found["losses"], alone["losses"], rtol=1e-12)


def test_the_steps_are_those_of_fit(rows: DataFrame, alone: Any) -> None:
    estimator = FakeEstimator.of(lambda config: LinearModel(features=2, rate=1e-3), 2)
    stats = estimator.fit(rows, ["x"], epochs=3, batch_size=12)
    # Another set of columns is another sequence of rows.
    same = run(2, descended, rows, feature_cols="x", label_cols="y", batch_size=12, epochs=3,
               rate=1e-3)  # fmt: skip
    assert stats.order == "canonical"
    np.testing.assert_allclose(same["losses"], stats.history["loss"], rtol=1e-12)


@pytest.mark.classic("only there does a plan tell its partitions")
def test_rows_that_stay_where_they_lie_are_moved_if_uneven(spark: SparkSession) -> None:
    def counts(worker: Any) -> Any:
        return worker.all_gather(worker.rows.count)

    even = spark.range(0, 40, 1, 2)
    assert run(2, counts, even, feature_cols="id") == [20, 20]
    uneven = even.where("id < 20 or id = 30")
    assert run(2, counts, uneven, feature_cols="id") == [10, 11]


def test_without_a_frame_there_are_workers_and_no_rows(spark: SparkSession) -> None:
    def train(worker: Any, name: str, *, data: Any = None) -> Any:
        worker.barrier()
        return worker.all_gather((name, worker.rank, data))

    bound = functools.partial(train, name="mine")
    assert run(2, bound, data=np.arange(2)) is not None
    told = run(3, bound)
    assert told == [("mine", rank, None) for rank in range(3)]
    with pytest.raises(WorkerError, match="was given no DataFrame"):
        run(1, lambda worker: worker.rows)


@pytest.mark.parametrize(
    ("train", "given", "said"),
    [
        (None, {}, "train must be a function, got a NoneType\n"),
        (lambda worker: 1, {"rate": 1}, "train cannot be called as train(worker, rate): "),
        (lambda worker, rate: 1, {}, "train cannot be called as train(worker): "),
        (lambda worker: (yield 1), {}, "train is a generator or a coroutine, so that to call it"),
        (lambda worker, name: 1, {}, "train has an argument 'name', which run takes for itself\n"),
        (lambda worker: 1, {"feature_cols": "x"}, "name columns of a DataFrame, and there is none"),
        (lambda worker: 1, {"resume": True}, "resume=True needs a place for checkpoints"),
    ],
)
def test_calls_that_cannot_be_are_refused_before_they_start(
    spark: SparkSession, train: Any, given: Any, said: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Distributor(2).run(train, **given)
    assert said in str(caught.value)


def test_what_is_refused_of_frames_and_values(rows: DataFrame, spark: SparkSession) -> None:
    def train(worker: Any, **given: Any) -> None:
        pass

    with pytest.raises(ColumnError, match="feature_cols must be given"):
        run(1, train, rows)
    with pytest.raises(CreatorError, match="arguments cannot be sent to the workers"):
        run(1, train, lock=__import__("threading").Lock())
    with pytest.raises(InvalidInputError, match="environment has 'A': 1, and variables are text"):
        Distributor(environment={"A": 1})
    with pytest.raises(DataError, match="no rows"):
        run(2, train, spark.range(5).where("id < 0"), feature_cols="id")
    with pytest.raises(WorkerError, match="what train returned at a.0 is of type set"):
        run(1, lambda worker: {"a": [{1}]})


def test_each_run_has_processes_of_its_own_with_its_environment(spark: SparkSession) -> None:
    def train(worker: Any) -> Any:
        import json
        import os

        json.left_behind = getattr(json, "left_behind", 0) + 1
        threads = {os.environ[name] for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
        told = (os.getpid(), json.left_behind, os.environ["MINE"], *threads)
        return worker.all_gather(told)

    seen = [
        told for _ in range(2) for told in run(2, train, options={"environment": {"MINE": "1"}})
    ]
    assert len({pid for pid, *_ in seen}) == 4
    assert [left for _, left, *_ in seen] == [1] * 4
    assert all(mine == "1" and int(threads) >= 1 for _, _, mine, threads in seen)


def test_a_failure_is_one_error_within_seconds(spark: SparkSession) -> None:
    def train(worker: Any) -> None:
        import time

        if worker.rank == 1:
            raise KeyError("no such thing")
        if worker.rank == 0:
            worker.barrier()
        time.sleep(100)

    began = time.monotonic()
    with pytest.raises(WorkerError, match="KeyError: 'no such thing'") as caught:
        run(3, train)
    assert time.monotonic() - began < 30
    assert caught.value.rank == 1 and 'raise KeyError("no such thing")' in str(caught.value)


def test_a_worker_that_returns_early_is_one_error(spark: SparkSession) -> None:
    def train(worker: Any) -> None:
        for step in range(3 - worker.rank):
            worker.all_reduce(float(step))

    with pytest.raises(WorkerError, match="rank 1 has returned from its function, and rank 0"):
        run(2, train)


def test_a_worker_that_is_killed_is_one_error(spark: SparkSession) -> None:
    def train(worker: Any) -> None:
        import os
        import signal
        import time

        if worker.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(100)

    began = time.monotonic()
    with pytest.raises(WorkerDiedError, match="SIGKILL") as caught:
        run(2, train)
    assert caught.value.rank == 1 and time.monotonic() - began < 60


def test_rows_of_any_form_come_with_padding_and_masks(spark: SparkSession) -> None:
    def train(worker: Any) -> Any:
        rows = worker.rows
        own = {name: rows[name] for name in rows}
        steps = [dict(batch) for batch in rows.batches(2)]
        return rows.features, worker.all_gather((own, steps))

    arrow = pa.table({"h": [[1], [2, 3], [4, 5, 6]], "y": [0.5, 1.5, 2.5]})
    features, told = run(
        2, train, arrow, feature_cols=[column("h", pad=0, mask="there")], label_cols="y"
    )
    assert features == ("h", "there")
    whole = {name: np.concatenate([own[name] for own, _ in told]) for name in ("h", "there", "y")}
    order = np.argsort(whole["y"])
    assert whole["h"][order].tolist() == [[1, 0, 0], [2, 3, 0], [4, 5, 6]]
    np.testing.assert_array_equal(whole["there"], whole["h"] > 0)
    taken = [step for _, steps in told for step in steps]
    assert sorted(y for step in taken for y in step["y"]) == [0.5, 1.5, 2.5]
    for step in taken:
        np.testing.assert_array_equal(step["there"], step["h"] > 0)


def trained(worker: Any, epochs: int, fails_at: str) -> Any:
    """Count epochs, with checkpoints; fail where a file says so."""
    import os

    state = worker.restored or {"epoch": 0, "sum": np.zeros(2), "began": []}
    state["began"].append(state["epoch"])
    while state["epoch"] < epochs:
        state["sum"] = state["sum"] + worker.all_reduce(np.ones(2) * state["epoch"])
        state["epoch"] += 1
        worker.checkpoint(state)
        worker.barrier()
        if os.path.exists(fails_at) and state["epoch"] == 3 and worker.rank == 1:
            raise RuntimeError("power cut")
    return state


def test_a_run_goes_on_from_its_newest_checkpoint(spark: SparkSession, tmp_path: Path) -> None:
    kept, fails_at = tmp_path / "kept", tmp_path / "fails"
    kept.mkdir()  # over Spark Connect a path that is not here is of the server
    fails_at.touch()
    given: dict[str, Any] = {"epochs": 5, "fails_at": str(fails_at)}
    options = {"model_dir": str(kept)}
    with pytest.raises(WorkerError, match="power cut") as caught:
        run(2, trained, options=options, **given)
    (note,) = caught.value.__notes__
    assert "run(resume=True) goes on from it" in note
    with pytest.raises(InvalidInputError, match="is of another function, or of other arguments"):
        run(2, trained, options=options, resume=True, **{**given, "epochs": 6})
    fails_at.unlink()
    unbroken = run(2, trained, **given, options={"model_dir": str(tmp_path / "other")})
    found = run(2, trained, options=options, resume=True, **given)
    # Rank 1 failed at the end of epoch 3, while rank 0 wrote.
    assert unbroken.pop("began") == [0] and found.pop("began") in ([0, 3], [0, 2])
    np.testing.assert_array_equal(found["sum"], unbroken["sum"])
    assert found["epoch"] == unbroken["epoch"] == 5
    assert list(kept.iterdir()) == []


def test_what_is_too_large_comes_through_the_directory(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.orca.learn.distributor.max_result_bytes", lambda spark: 200_000)

    def train(worker: Any) -> Any:
        return np.arange(100_000)

    with pytest.raises(WorkerError, match="what train returned weighs 0.8 MiB") as caught:
        run(1, train)
    assert "spark.driver.maxResultSize" in str(caught.value)
    found = run(1, train, options={"model_dir": str(tmp_path)})
    np.testing.assert_array_equal(found, np.arange(100_000))
    assert list(tmp_path.iterdir()) == []


def test_reports_and_prints_are_shown(
    spark: SparkSession, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(worker: Any) -> None:
        print("printed by", worker.rank)
        for step in range(1, 4):
            worker.report(step, 3, loss=1 / step)

    Distributor(2).run(train, name="mine")
    shown = capfd.readouterr().out
    assert "mine: 3/3 - loss: 0.3333" in shown
    assert "mine: [rank 1] printed by 1" in shown


def test_workers_share_processors_with_those_of_other_calls(
    spark: SparkSession, tmp_path: Path
) -> None:
    def threads(worker: Any, begun: str = "", until: str = "") -> int:
        if begun:
            Path(begun).touch()
        deadline = time.monotonic() + 60
        while until and not Path(until).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return int(os.environ["OMP_NUM_THREADS"])

    begun, until = str(tmp_path / "begun"), str(tmp_path / "until")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run, 1, threads, begun=begun, until=until)
        deadline = time.monotonic() + 60
        while not Path(begun).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        beside = run(1, threads)
        Path(until).touch()
        alone = first.result(60)
    assert alone == len(usable_processors())
    assert beside == max(1, alone // 2)
