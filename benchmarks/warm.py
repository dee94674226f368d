"""How long later jobs of a session take from the call to their first step.

python benchmarks/warm.py [--rounds N] [--rows N]

One cold process a round: a first fit, a second fit and an evaluate of a small Keras model on 2
workers. A callback notes when each worker comes to its first step. In the same process Spark's own
share is measured alone: repartition(n, rand(seed)) of the same rows and a barrier stage that
counts them. What is left over is ours and the framework's.

The first fit is also told by phases, and beside it what each takes alone in a cold process: the
import of the framework, and the first exchange to Python workers of a session of Spark's own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from _report import Goal, Run, conclude, race, ratio, spread, table, write
from _timeline import Timeline, after, mark, marks, stages

WORKERS = 2
SEED = 7
#: Must, and reach for.
BEYOND = (1.5, 0.5)
JOBS = ("first fit", "second fit", "evaluate")
#: Of the first fit to its first step, times the framework's import alone: must, and reach for.
FIRST_FIT = (1.67, 1.4)
IMPORT = "import of the framework alone"
EXCHANGE = "first exchange of a session alone"
CREATOR, FIRST_STEP = "creators called", "first step begins"
#: The places that a first fit comes to, mostly in this order.
PLACES = (
    *("exchange begins", "exchange ends", "barrier stage begins"),
    *("daemon", "Python worker", "child", CREATOR, "first step", "result"),
)


def model_creator(config: dict[str, Any]) -> Any:
    """Return a small dense model of two inputs."""
    import tensorflow as tf
    from _timeline import mark

    mark(config["marks"], "creators called")
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
                mark(directory, FIRST_STEP)

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.note()

        def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.note()

    return FirstStep()


def timed(job: Callable[..., Any], directory: str, spark: Any, phases: bool) -> dict[str, float]:
    """Return the seconds from the call to each place that it came to, and to the result.

    Where several processes come to a place, it is when the last one did. To look for `phases` takes
    a little of a processor.
    """
    for path in Path(directory).iterdir():
        path.unlink()
    callback = first_step_noted(directory)
    timeline = Timeline() if phases else None
    start = time.time()
    job(callbacks=[callback])
    done = time.time() - start
    found = {**(timeline.end() if timeline else {}), **marks(directory)}
    steps = found.pop(FIRST_STEP, [])
    if len(steps) != WORKERS:
        raise SystemExit(f"{len(steps)} of {WORKERS} workers came to a first step")
    told = {"first step": max(steps) - start, "result": done}
    if not phases:
        return told
    ran = [(began - start, ended - start) for _, began, ended in stages(spark, start)]
    moved = {"exchange begins": ran[-2][0], "exchange ends": ran[-2][1]} if len(ran) > 1 else {}
    began = {"barrier stage begins": ran[-1][0]}
    came = after(found, start)
    return {**came, **moved, **began, **told}


def shuffle_alone(df: Any) -> float:
    """Return the seconds of Spark's own exchange into a stage that only counts."""
    from ingest import count
    from pyspark.sql import functions as F

    start = time.time()
    exchanged = df.repartition(WORKERS, F.rand(SEED))
    exchanged.mapInArrow(count, "rows long", barrier=True).collect()
    return time.time() - start


def written(spark: Any, directory: str, rows: int) -> Any:
    """Return a frame of three floats, read from files."""
    from pyspark.sql import functions as F

    path = str(Path(directory) / "rows")
    columns = [(F.rand(n) * 10_000).cast("float").alias(name) for n, name in enumerate("aby")]
    # More partitions than workers, so that there is an exchange.
    spark.conf.set("spark.sql.files.minPartitionNum", 2 * WORKERS)
    spark.range(0, rows, 1, 2 * WORKERS).select(*columns).write.parquet(path)
    return spark.read.parquet(path)


def run_floors(rows: int) -> dict[str, Any]:
    """Return what phases of a first fit take alone: the import, and Spark's first exchange."""
    from ingest import session

    start = time.time()
    subprocess.run([sys.executable, "-P", "-c", "import tf_keras"], check=True, capture_output=True)
    found = {IMPORT: time.time() - start}
    with tempfile.TemporaryDirectory(prefix="orca-warm-") as directory:
        spark = session(directory)
        found[EXCHANGE] = shuffle_alone(written(spark, directory, rows))
        spark.stop()
    return found


def run_session(rows: int) -> dict[str, Any]:
    """Run the jobs of one session; return their times."""
    from zoo.orca import OrcaContext, init_orca_context
    from zoo.orca.learn.tf2 import Estimator

    with tempfile.TemporaryDirectory(prefix="orca-warm-") as directory:
        conf = {"spark.local.dir": directory, "spark.orca.class.archive": "false"}
        init_orca_context("local", cores=WORKERS, memory="6g", conf=conf)
        spark = OrcaContext.get_spark_session()
        df = written(spark, directory, rows)
        noted = Path(directory) / "marks"
        noted.mkdir()
        estimator = Estimator.from_keras(
            model_creator=model_creator, config={"marks": str(noted)}, num_workers=WORKERS
        )
        given = {"batch_size": 8192, "feature_cols": ["a", "b"], "label_cols": ["y"], "verbose": 0}
        found: dict[str, Any] = {}
        for name in JOBS:
            method = estimator.evaluate if name == "evaluate" else estimator.fit
            job = partial(method, df, **given)
            found[name] = timed(job, str(noted), spark, name == JOBS[0])
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
    for floor in (IMPORT, EXCHANGE):
        every += [Run(n, floor, {"alone": run[floor]}) for n, run in enumerate(runs, 1)]
    shown = table(["job", "to first step, s", "beyond the shuffle, s", "to result, s"], lines)
    goals = [
        Goal(
            f"{name}: s to the first step, beyond the shuffle", beyond[name], *BEYOND, at_most=True
        )
        for name in JOBS[1:]
    ]
    firsts = [run["first fit"]["first step"] for run in runs]
    value, within = ratio(firsts, [run[IMPORT] for run in runs])
    first = f"first fit: s to the first step ÷ {IMPORT}"
    goals.append(Goal(first, value, *FIRST_FIT, at_most=True, detail=within))
    setting = (
        f"{options.rows:,} rows of 3 floats that Spark has to exchange, {WORKERS} workers, "
        f"{options.rounds} rounds, each a cold process. Sessions are `init_orca_context`'s, "
        "without an archive of classes. Two workers import the framework at the same time, on "
        "processors that Spark's compilers want as well: what overlaps takes longer."
    )
    phases = phases_table(runs)
    sections = {"": setting, "Medians": shown, "The first fit by phases": phases}
    path = write("warm", "Later jobs of a session", sections, runs=every, goals=goals)
    return conclude(path, [shown, phases], goals)


def phases_table(runs: Sequence[dict[str, Any]]) -> str:
    """Return when a first fit came to its places, and what phases take alone."""
    lines = []
    for place in PLACES:
        whens = [run["first fit"][place] for run in runs if place in run["first fit"]]
        lines.append([place, spread(whens)])
    lines += [[f"*{floor}*", spread([run[floor] for run in runs])] for floor in (IMPORT, EXCHANGE)]
    return table(["seconds from the call until the last worker is there", "first fit"], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--once", action="store_true", help="one session, in this process")
    parser.add_argument("--floors", action="store_true", help="what phases take alone")
    options = parser.parse_args(arguments)
    if options.floors:
        print(json.dumps(run_floors(options.rows)))
        return 0
    if options.once:
        print(json.dumps(run_session(options.rows)))
        return 0
    runs = []
    for number in range(1, options.rounds + 1):
        given = (Path(__file__).name, "--rows", options.rows)
        runs.append(race(*given, "--floors") | race(*given, "--once"))
        print(f"round {number}: {runs[-1]}", flush=True)
    return report(runs, options)


if __name__ == "__main__":
    sys.exit(main())
