"""How long Spark ML's search over a stage takes beside the same fits by hand.

python benchmarks/ml.py [--rows N] [--epochs N] [--rounds N]

`CrossValidator` over two folds and three learning rates of a `TorchClassifier`: six fits, each with
its evaluation, and a fit of the best on all rows. By hand the same is a loop over
`zoo.orca.learn.pytorch.Estimator`, with the same folds, cached as Spark caches them, and Spark's
evaluator on predicted classes. Each contestant has a process of its own with two processors, and
fits once before its time is taken: no start of a framework is in it. "six fits" is the time of the
loop's fits alone.
Fails when the search takes more than 1.1 of the loop.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from _report import Goal, Run, conclude, race, ratio, spread, table, take_turns, values, write

FOLDS, RATES, SEED = 2, (0.1, 0.03, 0.01), 5
FEATURES = 16
#: Must, and reach for.
OF_BY_HAND = (1.1, 1.0)
BY_HAND, SEARCH, SIDE_BY_SIDE = "by hand", "CrossValidator", "CrossValidator, parallelism 2"
CONTESTANTS = {BY_HAND: 0, SEARCH: 1, SIDE_BY_SIDE: 2}


def model_creator(config: dict[str, Any]) -> Any:
    """Return a small perceptron of three classes."""
    from torch import nn

    return nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 3))


def optimizer_creator(model: Any, config: dict[str, Any]) -> Any:
    """Return the optimizer with the rate that is searched."""
    import torch

    return torch.optim.Adam(model.parameters(), lr=config["lr"])


def loss_creator(config: dict[str, Any]) -> Any:
    """Return the loss."""
    from torch import nn

    return nn.CrossEntropyLoss()


def rows_of(spark: Any, count: int) -> Any:
    """Return rows of an array of features and a label that some of them tell."""
    from pyspark.sql import functions as F

    columns = [F.randn(n).cast("float") for n in range(FEATURES)]
    frame = spark.range(0, count, 1, 2).select(F.array(*columns).alias("features"))
    scores = [F.col("features")[n] for n in range(3)]
    label = F.array_position(F.array(*scores), F.greatest(*scores)) - 1
    return frame.withColumn("label", label.cast("double")).cache()


def stage_of(epochs: int) -> Any:
    """Return the stage that is searched."""
    from zoo.orca.ml import TorchClassifier

    return TorchClassifier(
        modelCreator=model_creator,
        optimizer=optimizer_creator,
        loss=loss_creator,
        config={"lr": RATES[0]},
        epochs=epochs,
        batchSize=1280,
        numWorkers=1,
    )


def search_of(stage: Any, parallelism: int) -> Any:
    """Return the search."""
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    return CrossValidator(
        estimator=stage,
        estimatorParamMaps=ParamGridBuilder().addGrid(stage.configParam("lr"), list(RATES)).build(),
        evaluator=MulticlassClassificationEvaluator(metricName="accuracy"),
        numFolds=FOLDS,
        seed=SEED,
        parallelism=parallelism,
    )


def by_hand(search: Any, rows: Any, epochs: int) -> dict[str, Any]:
    """Return the accuracies of the loop, and the seconds of its six fits."""
    from pyspark.sql import functions as F

    from zoo.orca.learn.pytorch import Estimator

    seconds = 0.0

    def fitted(data: Any, rate: float) -> Any:
        nonlocal seconds
        estimator = Estimator.from_torch(
            model=model_creator,
            optimizer=optimizer_creator,
            loss=loss_creator,
            config={"lr": rate},
            num_workers=1,
        )
        start = time.perf_counter()
        estimator.fit(
            # As the stage does: the order of rows follows what is in them.
            data.withColumn("label", F.col("label").cast("int")),
            epochs=epochs,
            batch_size=1280,
            feature_cols=["features"],
            label_cols=["label"],
            verbose=0,
        )
        seconds += time.perf_counter() - start
        return estimator

    def evaluated(estimator: Any, data: Any) -> float:
        classes = estimator.predict(data, feature_cols=["features"], output_type="class")
        told = classes.select("label", F.col("prediction").cast("double"))
        return float(search.getEvaluator().evaluate(told))

    found = []
    for train, rest in search._kFold(rows):
        train, rest = train.cache(), rest.cache()
        found.append([evaluated(fitted(train, rate), rest) for rate in RATES])
        train.unpersist()
        rest.unpersist()
    means = [sum(one) / FOLDS for one in zip(*found, strict=True)]
    six = seconds
    fitted(rows, RATES[means.index(max(means))])
    return {"accuracies": means, "six fits": six}


def run_session(parallelism: int, count: int, epochs: int) -> dict[str, Any]:
    """Run one contestant; return its seconds and what it found."""
    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

    init_orca_context("local", cores=2, conf={"spark.ui.enabled": "false"})
    rows = rows_of(OrcaContext.get_spark_session(), count)
    stage = stage_of(epochs)
    stage.copy({stage.epochs: 1}).fit(rows).transform(rows).count()
    search = search_of(stage, max(parallelism, 1))
    start = time.perf_counter()
    if parallelism:
        found = {"accuracies": list(map(float, search.fit(rows).avgMetrics))}
    else:
        found = by_hand(search, rows, epochs)
    found["search"] = time.perf_counter() - start
    stop_orca_context()
    return found


def measure(parallelism: int, options: argparse.Namespace) -> dict[str, float]:
    """Return a contestant's figures, from a process of its own."""
    found = race(
        "ml.py", "--contestant", parallelism, "--rows", options.rows, *("--epochs", options.epochs)
    )
    figures = {name: found[name] for name in ("search", "six fits") if name in found}
    return figures | {f"lr {r:g}": a for r, a in zip(RATES, found["accuracies"], strict=True)}


def report(runs: list[Run], options: argparse.Namespace) -> int:
    """Write and print what came of it; return the exit code."""
    hand = values(runs, BY_HAND, "search")
    lines = [["six fits", spread(values(runs, BY_HAND, "six fits"))]]
    lines += [[name, spread(values(runs, name, "search"))] for name in CONTESTANTS]
    goals = []
    for name in (SEARCH, SIDE_BY_SIDE):
        value, within = ratio(values(runs, name, "search"), hand)
        goals.append(Goal(f"{name} ÷ {BY_HAND}", value, *OF_BY_HAND, at_most=True, detail=within))
    for rate in RATES:
        name = f"lr {rate:g}"
        found = [median(values(runs, one, name)) for one in CONTESTANTS]
        if max(found) - min(found) > 1e-3:
            raise SystemExit(f"{name}: the contestants came to other accuracies: {found}")
    shown = table(["contestant", "s"], lines)
    setting = (
        f"{options.rows:,} rows of {FEATURES} numbers, {options.epochs} epochs, {FOLDS} folds, "
        f"{len(RATES)} rates, one worker a fit, {options.rounds} rounds."
    )
    path = write(
        "ml",
        "Spark ML's search over a stage, beside the same fits by hand",
        {"": setting, "Seconds": shown},
        runs=runs,
        goals=goals,
    )
    return conclude(path, [shown], goals)


def main() -> int:
    """Run the benchmark, or one contestant."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant is not None:
        print(json.dumps(run_session(options.contestant, options.rows, options.epochs)))
        return 0
    contestants: dict[str, Callable[[], dict[str, float]]] = {
        name: partial(measure, parallelism, options) for name, parallelism in CONTESTANTS.items()
    }
    return report(take_turns(contestants, options.rounds, "s"), options)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
