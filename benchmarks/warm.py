"""How long later jobs of a session take from the call to their first step.

python benchmarks/warm.py [--rounds N] [--rows N]

One cold process a round: a first fit, a second fit and an evaluate of a small Keras model on 2
workers. A callback notes when each worker comes to its first step. In the same process Spark's own
share is measured alone: repartition(n, rand(seed)) of the same rows and a barrier stage that
counts them. What is left over is ours and the framework's.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from _report import Goal, Run, conclude, race, table, write

WORKERS = 2
SEED = 7
#: Must, and reach for.
BEYOND = (1.5, 0.5)
JOBS = ("first fit", "second fit", "evaluate")


def model_creator(config: dict[str, Any]) -> Any:
    """Return a small dense model of two inputs."""
    import tensorflow as tf

    inputs = [tf.keras.Input((1,), name=name) for name in "ab"]
    hidden = tf.keras.layers.Dense(16, activation="relu")(tf.keras.layers.concatenate(inputs))
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(hidden))
    model.compile("sgd", "mse")
    return model


def first_step_noted(directory: str) -> Any:
    """Return a callback that notes when each worker's first step begins."""
    import tf_keras

    class FirstStep(tf_keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.noted = False

        def note(self) -> None:
            if not self.noted:
                self.noted = True
                (Path(directory) / f"{time.time()}-{os.getpid()}").touch()

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.note()

        def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.note()

    return FirstStep()


def timed(job: Callable[..., Any]) -> dict[str, float]:
    """Return the seconds from the call to the last worker's first step, and to the result."""
    with tempfile.TemporaryDirectory(prefix="orca-warm-") as directory:
        callback = first_step_noted(directory)
        start = time.time()
        job(callbacks=[callback])
        done = time.time() - start
        steps = [float(path.name.partition("-")[0]) - start for path in Path(directory).iterdir()]
    if len(steps) != WORKERS:
        raise SystemExit(f"{len(steps)} of {WORKERS} workers came to a first step")
    return {"first step": max(steps), "result": done}


def shuffle_alone(df: Any) -> float:
    """Return the seconds of Spark's own exchange into a stage that only counts."""
    from ingest import count
    from pyspark.sql import functions as F

    start = time.time()
    exchanged = df.repartition(WORKERS, F.rand(SEED))
    exchanged.mapInArrow(count, "rows long", barrier=True).collect()
    return time.time() - start


def run_session(rows: int) -> dict[str, Any]:
    """Run the jobs of one session; return their times."""
    from ingest import session
    from pyspark.sql import functions as F

    with tempfile.TemporaryDirectory(prefix="orca-warm-") as directory:
        spark = session(directory)
        from zoo.orca.learn.tf2 import Estimator

        path = str(Path(directory) / "rows")
        columns = [(F.rand(n) * 10_000).cast("float").alias(name) for n, name in enumerate("aby")]
        # More partitions than workers, so that there is an exchange.
        spark.conf.set("spark.sql.files.minPartitionNum", 2 * WORKERS)
        spark.range(0, rows, 1, 2 * WORKERS).select(*columns).write.parquet(path)
        df = spark.read.parquet(path)
        estimator = Estimator.from_keras(model_creator=model_creator, num_workers=WORKERS)
        given = {"batch_size": 8192, "feature_cols": ["a", "b"], "label_cols": ["y"], "verbose": 0}
        found: dict[str, Any] = {}
        for name in JOBS:
            method = estimator.evaluate if name == "evaluate" else estimator.fit
            found[name] = timed(lambda method=method, **more: method(df, **given, **more))
        shuffle_alone(df)
        found["shuffle"] = median(shuffle_alone(df) for _ in range(3))
        spark.stop()
    return found


def report(runs: Sequence[dict[str, Any]], options: argparse.Namespace) -> int:
    """Write and print what the sessions came to; return the exit code."""
    shuffle = median(run["shuffle"] for run in runs)
    lines = [["Spark's shuffle alone", f"{shuffle:.2f}", "", ""]]
    every: list[Run] = []
    beyond: dict[str, float] = {}
    for name in JOBS:
        first = median(run[name]["first step"] for run in runs)
        result = median(run[name]["result"] for run in runs)
        beyond[name] = median(run[name]["first step"] - run["shuffle"] for run in runs)
        lines.append([name, f"{first:.2f}", f"{beyond[name]:.2f}", f"{result:.2f}"])
        every += [
            Run(n, name, {"shuffle alone": run["shuffle"], **run[name]})
            for n, run in enumerate(runs, 1)
        ]
    shown = table(["job", "to first step, s", "beyond the shuffle, s", "to result, s"], lines)
    goals = [
        Goal(
            f"{name}: s to the first step, beyond the shuffle", beyond[name], *BEYOND, at_most=True
        )
        for name in JOBS[1:]
    ]
    setting = (
        f"{options.rows:,} rows of 3 floats that Spark has to exchange, {WORKERS} workers, "
        f"{options.rounds} rounds, each a cold process."
    )
    sections = {"": setting, "Medians": shown}
    path = write("warm", "Later jobs of a session", sections, runs=every, goals=goals)
    return conclude(path, [shown], goals)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--once", action="store_true", help="one session, in this process")
    options = parser.parse_args(arguments)
    if options.once:
        print(json.dumps(run_session(options.rows)))
        return 0
    runs = []
    for number in range(1, options.rounds + 1):
        runs.append(race(Path(__file__).name, "--once", "--rows", options.rows))
        print(f"round {number}: {runs[-1]}", flush=True)
    return report(runs, options)


if __name__ == "__main__":
    sys.exit(main())
