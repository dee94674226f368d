"""Trains on a stream, and kills itself where it is told to: ``… DIRECTORY NUMBER:MOMENT [URL]``.

Each file of DIRECTORY/rows is a batch. With the URL of a Spark Connect server this program gives
the batches itself, as Spark does: one that it has not noted as done comes again. So no JVM starts.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException

from tests.fake_estimator import FakeEstimator, linear

STARTS_WITHIN = 120.0
#: No moment: also over Spark Connect, Spark itself gives the batches, to a process of the server's.
STREAM = "a stream"
#: What happens to a batch, in order. At the end of each moment the process can be killed.
MOMENTS = ("called", "training", "trained", "half written", "written", "returned")


class Trainer:
    """A `BatchTrainer` that dies at one moment of one batch."""

    def __init__(self, directory: str, number: int, moment: str) -> None:
        self.directory, self.number, self.moment = directory, number, moment
        self._trainer: Any = None

    def __call__(self, batch: Any, number: int) -> None:
        if self._trainer is None:
            self._trainer = self._made()
        self._is_due = number == self.number
        self._may_die("called")
        self._trainer(batch, number)
        self._may_die("returned")

    def _made(self) -> Any:
        from zoo.orca import files

        driver, number, moment = os.getpid(), self.number, self.moment
        first = Path(self.directory) / f"{number} {moment}"

        def on_step(rank: int, step: int) -> None:
            # Whoever comes first in this batch: the file of the batch is there while it trains.
            if moment == "training" and first.exists() and rank == 0:
                os.kill(driver, signal.SIGKILL)

        estimator = FakeEstimator.of(linear(1, on_step=on_step), 2)
        write, located, fit = estimator._write, files._locate, estimator.fit

        def fitted(data: Any, **arguments: Any) -> Any:
            if self._is_due:
                first.touch()
            return fit(data, **arguments)

        def written(*arguments: Any) -> None:
            self._may_die("trained")
            write(*arguments)
            self._may_die("written")

        def watched(path: str) -> tuple[Any, str]:
            filesystem, target = located(path)
            return _Files(filesystem, self), target

        estimator._write = written  # type: ignore[method-assign]
        estimator.fit = fitted  # type: ignore[method-assign]
        files._locate = watched
        return estimator.batch_trainer(f"{self.directory}/state", epochs=2, batch_size=8)

    def _may_die(self, moment: str) -> None:
        if self._is_due and moment == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)


class _Files:
    """A filesystem that tells when a file has been written, and not been renamed yet."""

    def __init__(self, filesystem: Any, trainer: Trainer) -> None:
        self._filesystem, self._trainer = filesystem, trainer

    def move(self, source: str, target: str) -> None:
        self._trainer._may_die("half written")
        self._filesystem.move(source, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._filesystem, name)


def train(spark: Any, directory: str, number: int, moment: str) -> Any:
    """Start the stream over all files that it has not seen."""
    stream = spark.readStream.schema("x double, y double").option("maxFilesPerTrigger", 1)
    writer = stream.parquet(f"{directory}/rows").writeStream
    writer = writer.option("checkpointLocation", f"{directory}/checkpoint")
    query = writer.foreachBatch(Trainer(directory, number, moment)).trigger(availableNow=True)
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        try:
            return query.start()
        except PySparkException as error:
            # A server gives the process of the batches ten seconds, which a busy machine may take.
            if "to connect back" not in str(error):
                raise
    raise TimeoutError("the server could not start the process of the batches")


def give(spark: Any, directory: str, number: int, moment: str) -> None:
    """Give all batches that are not done, and note each as done, as Spark does."""
    files = sorted(Path(directory, "rows").glob("*.parquet"), key=lambda file: file.stat().st_mtime)
    done, trainer = Path(directory, "done"), Trainer(directory, number, moment)
    for batch in range(int(done.read_text()) if done.exists() else 0, len(files)):
        trainer(spark.read.parquet(str(files[batch])), batch)
        done.write_text(str(batch + 1))


def main() -> None:
    directory, what, *url = sys.argv[1:]
    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

    number, _, moment = what.partition(":")
    if url:
        init_orca_context("connect", remote=url[0])
    else:
        init_orca_context("local", cores=2, memory="1g", conf={"spark.orca.class.archive": False})
    spark = OrcaContext.get_spark_session()
    if url and moment != STREAM:
        give(spark, directory, int(number), moment)
    else:
        train(spark, directory, int(number), moment).awaitTermination(120)
    print("all batches are trained")
    stop_orca_context()


if __name__ == "__main__":
    main()
