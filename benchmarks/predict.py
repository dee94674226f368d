"""How fast rows are predicted: Orca beside plain Keras on collected rows and beside UDFs.

python benchmarks/predict.py [--framework tf2|pytorch|keras-jax] [--rows N ...] [--rounds N]

The quick start's model on a Parquet file of generated ratings, read by Spark on two processors.
Plain Keras collects the rows (`toArrow`) and calls `model.predict`; the others predict where the
rows are, and their rows go to Spark's noop sink, as those do that Python only passes on.
Contestants take turns, each in a process of its own, because Spark hands one's Python workers to
the next; and each predicts a fifth of the rows before its time is taken: no start of a framework is
in it. That start has rows of its own: the first prediction in a session, of a thousand rows, by a
model that nothing has built yet and by one that was saved, and the framework's import in a bare
process.
Other frameworks than tf2 have no UDFs here, and the two slow ones run with the fewer rows alone.
Fails when Orca's median is above that of plain Keras with its collecting, `predict_udf`'s of
1,000,000 rows above 1.3 of Orca's `predict` or above pyspark's own function, or a session's first
prediction more than a second above the framework's import.
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
from _predictors import CONFIG, IMPORTS, choose_backend, estimator, import_seconds, predictor
from _report import Goal, Run, conclude, race, result_name, table, write
from pyarrow import parquet

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

CONTESTANTS = {
    "plain": "toArrow, then model.predict",
    "model.predict": "of which model.predict alone",
    "orca": "Orca predict, to the noop sink",
    "passed on": "mapInArrow that passes rows on, to the noop sink",
    "first": "the first Orca predict of a session, 1,000 rows",
    "saved": "the same by a model that was saved",
    "import": "the framework's import in a bare process",
    "predict_udf": "Orca predict_udf, to the noop sink",
    "pandas_udf": "pandas_udf over iterators, to the noop sink",
    "predict_batch_udf": "pyspark's predict_batch_udf, to the noop sink",
}
#: What runs in a process of its own; plain Keras gives two figures, and Orca four.
RUNS = ("plain", "orca", "saved", "predict_udf", "pandas_udf", "predict_batch_udf")
#: These take many times as long, at any number of rows: unless asked for, up to `SHORT` rows alone.
SLOW = ("pandas_udf", "predict_batch_udf")
FEATURES = ["user", "item"]
#: Of plain Keras. With two threads it is quicker than 8,192, which is the usual large number.
BATCH_SIZE = 32768
#: Runs of up to so many rows take a second or two, which other work on the machine blurs: each
#: process makes some of them, and gives their medians.
SHORT, REPEATED = 2_000_000, 3
#: Rows of the first prediction.
FEW = 1000
#: Must, and reach for: of plain Keras, and of the first prediction in seconds beyond the import.
OF_PLAIN, BEYOND_IMPORT = (1.0, 0.8), (1.0, 0.5)
#: Must, and reach for, of `predict_udf`: of Orca's own `predict`, and of pyspark's function.
UDF_OF_PREDICT, UDF_OF_PYSPARK = (1.3, 1.1), (1.0, 0.7)
UDF_GOAL_AT = 1_000_000
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


def make_predict_batch_udf(weights: Any) -> Any:
    """Return pyspark's own function for models: it keeps one for each Python worker."""
    import models_tf2
    from pyspark import cloudpickle
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql import types as T

    cloudpickle.register_pickle_by_value(models_tf2)
    creator, config = models_tf2.ncf, CONFIG

    def make_predict_fn() -> Callable[[Any, Any], Any]:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        model = creator(config)
        model.set_weights(weights)

        def predict(user: Any, item: Any) -> Any:
            return model.predict_on_batch([user[:, None], item[:, None]]).reshape(len(user), -1)

        return predict

    kind = T.ArrayType(T.FloatType())
    return predict_batch_udf(make_predict_fn, return_type=kind, batch_size=BATCH_SIZE)


def contestants(framework: str, path: Path) -> Iterator[dict[str, Callable[[Any], Any]]]:
    """Yield what each contestant does with a frame; the session lives until the next step."""
    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

    init_orca_context("local", cores=2, memory="2g")
    frame = OrcaContext.get_spark_session().read.parquet(str(path))
    est = estimator(framework)
    first = first_prediction(est, frame)
    est.save(str(saved_at(path)))
    model = est.get_model()
    predict = predictor(framework, model, BATCH_SIZE)

    def plain(frame: Any) -> dict[str, float]:
        began = time.perf_counter()
        rows = frame.toArrow()
        inputs = [rows[name].to_numpy() for name in FEATURES]
        collected = time.perf_counter()
        predict(inputs)
        ended = time.perf_counter()
        return {"plain": ended - began, "model.predict": ended - collected}

    def orca(frame: Any) -> dict[str, float]:
        seconds = to_nowhere(est.predict(frame, feature_cols=FEATURES))
        passed_on = to_nowhere(frame.mapInArrow(lambda batches: batches, frame.schema))
        return {"orca": seconds, "first": first, "passed on": passed_on}

    others = functions(est, model, frame) if framework == "tf2" else {}
    yield {"plain": plain, "orca": orca, **others}
    stop_orca_context()


def first_prediction(est: Any, frame: Any) -> float:
    """Return the seconds of a session's first prediction."""
    began = time.perf_counter()
    to_nowhere(est.predict(frame.limit(FEW), feature_cols=FEATURES))
    return time.perf_counter() - began


def of_a_saved_model(framework: str, path: Path) -> float:
    """Return the seconds of a session's first prediction, by a model that `contestants` saved."""
    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

    init_orca_context("local", cores=2, memory="2g")
    frame = OrcaContext.get_spark_session().read.parquet(str(path))
    est = estimator(framework)
    est.load(str(saved_at(path)))
    seconds = first_prediction(est, frame)
    stop_orca_context()
    return seconds


def saved_at(path: Path) -> Path:
    """Return where the model lies beside the rows."""
    return path.with_suffix(".safetensors")


def functions(est: Any, model: Any, frame: Any) -> dict[str, Callable[[Any], dict[str, float]]]:
    """Return what the functions of columns do with a frame."""
    weights = model.get_weights()
    made = {
        # Arrays, as the others give: a Vector costs Spark more.
        "predict_udf": est.predict_udf(frame, feature_cols=FEATURES, output_type="array"),
        "pandas_udf": make_pandas_udf(weights),
        "predict_batch_udf": make_predict_batch_udf(weights),
    }

    def with_function(name: str) -> Callable[[Any], dict[str, float]]:
        def run(frame: Any) -> dict[str, float]:
            return {name: to_nowhere(frame.withColumn("prediction", made[name](*FEATURES)))}

        return run

    return {name: with_function(name) for name in made}


def to_nowhere(frame: Any) -> float:
    """Return the seconds that all rows of a frame take."""
    began = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - began


def measure(framework: str, path: Path, name: str) -> dict[str, float]:
    """Return one contestant's seconds: the medians of its runs."""
    from zoo.orca import OrcaContext

    choose_backend(framework)
    if name == "saved":
        return {name: of_a_saved_model(framework, path)}
    found = {}
    for runs in contestants(framework, path):
        frame = OrcaContext.get_spark_session().read.parquet(str(path))
        runs[name](frame.sample(0.2, seed=0))
        repeated = REPEATED if parquet.read_metadata(path).num_rows <= SHORT else 1
        taken = [runs[name](frame) for _ in range(repeated)]
        found = {figure: median(one[figure] for one in taken) for figure in taken[0]}
    if name == "orca":
        found["import"] = import_seconds(framework)
    return found


def take_turns(
    framework: str, path: Path, rounds: int, names: Sequence[str]
) -> list[dict[str, float]]:
    """Return each round's seconds by contestant; every second round goes backwards."""
    results = []
    for number in range(rounds):
        found: dict[str, float] = {}
        for name in names[:: -1 if number % 2 else 1]:
            given = ["--measure", path, "--contestant", name, "--framework", framework]
            found |= race(Path(__file__).name, *given, timeout=3600)
        results.append(found)
        print(f"round {number + 1}: {found}", flush=True)
    return results


def summary(rows: int, results: Sequence[dict[str, float]]) -> tuple[str, dict[str, float]]:
    """Return medians and spreads as a table, and the medians."""
    names = [name for name in CONTESTANTS if name in results[0]]
    plain = median(run["plain"] for run in results) if "plain" in results[0] else float("nan")
    medians = {name: median(run[name] for run in results) for name in names}
    lines = [
        [
            CONTESTANTS[name],
            f"{medians[name]:.2f}",
            f"{min(run[name] for run in results):.2f} - {max(run[name] for run in results):.2f}",
            *(
                ("", "")
                if name in ("first", "saved", "import")
                else (f"{rows / medians[name]:,.0f}", f"{medians[name] / plain:.2f}")
            ),
        ]
        for name in names
    ]
    shown = table([f"{rows:,} rows", "seconds", "min - max", "rows/s", "of plain"], lines)
    return shown, medians


def goals_of(rows: int, medians: dict[str, float]) -> list[Goal]:
    """Return what a number of rows is to show."""
    if not {"orca", "plain"} <= medians.keys():
        return []
    ratio = medians["orca"] / medians["plain"]
    goals = [Goal(f"{rows:,} rows: Orca ÷ plain", ratio, *OF_PLAIN, at_most=True)]
    if rows != UDF_GOAL_AT:
        return goals
    goals += [
        Goal(
            f"{title}: s beyond the framework's import",
            medians[name] - medians["import"],
            *BEYOND_IMPORT,
            at_most=True,
        )
        for name, title in {"first": "first prediction", "saved": "that of a saved model"}.items()
        if name in medians
    ]
    if "predict_udf" not in medians:
        return goals
    others = {"orca": ("Orca predict", UDF_OF_PREDICT)}
    others["predict_batch_udf"] = ("predict_batch_udf", UDF_OF_PYSPARK)
    return [
        *goals,
        *(
            Goal(
                f"{rows:,} rows: predict_udf ÷ {title}",
                medians["predict_udf"] / medians[name],
                *limits,
                at_most=True,
            )
            for name, (title, limits) in others.items()
            if name in medians
        ),
    ]


def runs_of(rows: int, results: Sequence[dict[str, float]]) -> list[Run]:
    """Return every run, in seconds."""
    return [
        Run(number, CONTESTANTS[name], {f"{rows:,} rows": seconds})
        for number, found in enumerate(results, 1)
        for name, seconds in found.items()
    ]


def names_at(rows: int, options: argparse.Namespace) -> Sequence[str]:
    """Return the contestants with so many rows."""
    if options.only:
        return list(options.only)
    if options.framework != "tf2":
        return RUNS[: 3 if rows <= SHORT else 2]
    return [name for name in RUNS if rows <= SHORT or name not in (*SLOW, "saved")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--framework", choices=list(IMPORTS), default="tf2")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=RUNS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
        print(json.dumps(measure(options.framework, options.measure, options.contestant)))
        return 0
    sections: dict[str, str] = {}
    goals: list[Goal] = []
    runs: list[Run] = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="orca-predict-") as directory:
            path = Path(directory) / "rows.parquet"
            generate(path, rows)
            results = take_turns(options.framework, path, options.rounds, names_at(rows, options))
        shown, medians = summary(rows, results)
        print(f"\n{shown}", flush=True)
        sections[f"{rows:,} rows"] = shown
        runs += runs_of(rows, results)
        goals += goals_of(rows, medians)
    setting = (
        f"Each contestant {options.rounds} times in turns, each time in a process of its own with "
        f"two processors, after a fifth of the rows; the median of {REPEATED} runs in it with up "
        f"to {SHORT:,} rows. model.predict gets batches of {BATCH_SIZE:,} rows."
    )
    name = result_name("predict", [options.framework])
    title = "Speed of predictions" + (
        f", {options.framework}" if options.framework != "tf2" else ""
    )
    path = write(name, title, {"": setting, **sections}, runs=runs, goals=goals)
    return conclude(path, [], goals)


if __name__ == "__main__":
    sys.exit(main())
