"""How fast rows are predicted: Orca beside plain Keras on collected rows and beside a pandas UDF.

python benchmarks/predict.py [--rows N ...] [--rounds N]

The quick start's model on a Parquet file of generated ratings, read by Spark on two processors.
Plain Keras collects the rows (`toArrow`) and calls `model.predict`; the two others predict where
the rows are, and their rows go to Spark's noop sink. Contestants take turns, each in a process of
its own, because Spark hands one's Python workers to the next; and each predicts a fifth of the rows
before its time is taken: no start of a framework is in it.
Fails when Orca's median of 10,000,000 rows is above 1.5 of plain Keras with its collecting.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from _report import Goal, conclude, race, table, write
from pyarrow import parquet

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

CONTESTANTS = {
    "plain": "toArrow, then model.predict",
    "model.predict": "of which model.predict alone",
    "orca": "Orca predict, to the noop sink",
    "pandas_udf": "pandas_udf over iterators, to the noop sink",
}
FEATURES = ["user", "item"]
CONFIG = {"max_user_id": 6040, "max_item_id": 3952}
#: Of plain Keras. With two threads it is quicker than 8,192, which is the usual large number.
BATCH_SIZE = 32768
#: Must, and reach for, at so many rows.
OF_PLAIN = (1.5, 1.0)
GOAL_AT = 10_000_000
ROW_GROUP = 250_000


def generate(path: Path, rows: int) -> None:
    """Write ratings as Parquet, in row groups that Spark can read apart."""
    rng = np.random.default_rng(0)
    highest = [*CONFIG.values(), 5]
    columns = [rng.integers(1, most, rows, dtype=np.int32, endpoint=True) for most in highest]
    parquet.write_table(pa.table(columns, [*FEATURES, "label"]), path, row_group_size=ROW_GROUP)


def make_pandas_udf(weights: Any) -> Any:
    """Return the UDF that a careful user writes: one model for each task, large batches."""
    import models_tf2
    import pandas as pd
    from pyspark import cloudpickle
    from pyspark.sql.functions import pandas_udf

    # Python workers do not find the example's module.
    cloudpickle.register_pickle_by_value(models_tf2)
    creator, config = models_tf2.ncf, CONFIG

    def predict(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.Series]:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        model = creator(config)
        model.set_weights(weights)
        for user, item in batches:
            inputs = [column.to_numpy()[:, None] for column in (user, item)]
            found = model.predict_on_batch(inputs)
            yield pd.Series(list(found.reshape(len(user), -1)))

    predict.__annotations__ = {
        "batches": Iterator[tuple[pd.Series, pd.Series]],
        "return": Iterator[pd.Series],
    }
    return pandas_udf(predict, "array<float>")


def contestants(path: Path) -> Iterator[dict[str, Callable[[Any], dict[str, float]]]]:
    """Yield what each contestant does with a frame; the session lives until the next step."""
    from models_tf2 import ncf

    from zoo.orca import init_orca_context, stop_orca_context
    from zoo.orca.learn.tf2 import Estimator

    init_orca_context("local", cores=2, memory="2g")
    est = Estimator.from_keras(model_creator=ncf, config=CONFIG)

    def plain(frame: Any) -> dict[str, float]:
        began = time.perf_counter()
        rows = frame.toArrow()
        inputs = [rows[name].to_numpy()[:, None] for name in FEATURES]
        collected = time.perf_counter()
        model.predict(inputs, batch_size=BATCH_SIZE, verbose=0)
        ended = time.perf_counter()
        return {"plain": ended - began, "model.predict": ended - collected}

    def orca(frame: Any) -> dict[str, float]:
        return {"orca": to_nowhere(est.predict(frame, feature_cols=FEATURES))}

    def with_udf(frame: Any) -> dict[str, float]:
        predicted = frame.withColumn("prediction", udf(*FEATURES))
        return {"pandas_udf": to_nowhere(predicted)}

    from zoo.orca import OrcaContext

    spark = OrcaContext.get_spark_session()
    est.predict(spark.read.parquet(str(path)), feature_cols=FEATURES)  # builds the model
    model = est.get_model()
    udf = make_pandas_udf(model.get_weights())
    yield {"plain": plain, "orca": orca, "pandas_udf": with_udf}
    stop_orca_context()


def to_nowhere(frame: Any) -> float:
    """Return the seconds that all rows of a frame take."""
    began = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - began


def measure(path: Path, name: str) -> dict[str, float]:
    """Return one contestant's seconds."""
    from zoo.orca import OrcaContext

    found = {}
    for runs in contestants(path):
        frame = OrcaContext.get_spark_session().read.parquet(str(path))
        runs[name](frame.sample(0.2, seed=0))
        found = runs[name](frame)
    return found


def take_turns(path: Path, rounds: int) -> list[dict[str, float]]:
    """Return each round's seconds by contestant; every second round goes backwards."""
    results = []
    for number in range(rounds):
        found: dict[str, float] = {}
        for name in ("plain", "orca", "pandas_udf")[:: -1 if number % 2 else 1]:
            given = ["--measure", path, "--contestant", name]
            found |= race(Path(__file__).name, *given, timeout=3600)
        results.append(found)
        print(f"round {number + 1}: {found}", flush=True)
    return results


def summary(rows: int, results: Sequence[dict[str, float]]) -> tuple[str, float]:
    """Return medians and spreads as a table, and Orca's ratio to plain Keras."""
    medians = {name: median(run[name] for run in results) for name in CONTESTANTS}
    lines = [
        [
            title,
            f"{medians[name]:.2f}",
            f"{min(run[name] for run in results):.2f} - {max(run[name] for run in results):.2f}",
            f"{rows / medians[name]:,.0f}",
            f"{medians[name] / medians['plain']:.2f}",
        ]
        for name, title in CONTESTANTS.items()
    ]
    shown = table([f"{rows:,} rows", "seconds", "min - max", "rows/s", "of plain"], lines)
    return shown, medians["orca"] / medians["plain"]


def raw(results: Sequence[dict[str, float]]) -> str:
    """Return every run as a table, in seconds."""
    lines = [
        [number, *(f"{run[name]:.3f}" for name in CONTESTANTS)]
        for number, run in enumerate(results, 1)
    ]
    return table(["round", *CONTESTANTS], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
        print(json.dumps(measure(options.measure, options.contestant)))
        return 0
    sections, goals = {}, []
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="orca-predict-") as directory:
            path = Path(directory) / "rows.parquet"
            generate(path, rows)
            results = take_turns(path, options.rounds)
        shown, ratio = summary(rows, results)
        print(f"\n{shown}", flush=True)
        sections[f"{rows:,} rows"] = f"{shown}\n\n{raw(results)}"
        if rows == GOAL_AT:
            goals.append(Goal(f"{rows:,} rows: Orca ÷ plain", ratio, *OF_PLAIN, at_most=True))
    setting = (
        f"Each contestant {options.rounds} times in turns, each time in a process of its own with "
        f"two processors, after a fifth of the rows. model.predict gets batches of "
        f"{BATCH_SIZE:,} rows."
    )
    path = write("predict", "Speed of predictions", {"": setting, **sections}, goals=goals)
    return conclude(path, [], goals)


if __name__ == "__main__":
    sys.exit(main())
