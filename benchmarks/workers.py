"""How far the number of workers changes a training: without dropout, with it, beside another seed.

python benchmarks/workers.py [--workers N ...] [--seeds N]

A perceptron of PyTorch on rows that Spark makes up, batches of 128, Adam. The loss on rows that
were not trained on is compared with that of one worker and the same seed. Dropout draws on each
worker for its own rows, so with it another number of workers is another draw, as another seed is.
"""

import argparse
import sys
from collections.abc import Sequence
from statistics import pstdev
from typing import Any

from _report import Goal, Run, conclude, table, write
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from zoo.orca import init_orca_context, stop_orca_context
from zoo.orca.learn.pytorch import Estimator

FEATURES = ["a", "b", "c", "d"]


def rows(spark: SparkSession) -> DataFrame:
    """Return rows of four numbers and a label with noise; every fifth is for validation."""
    numbers = [(F.rand(seed) - 0.5).alias(name) for seed, name in enumerate(FEATURES)]
    made = spark.range(0, 24_000, 1, 5).select("id", *numbers, (0.1 * F.randn(9)).alias("noise"))
    label = F.col("a") * F.col("b") + F.sin(6 * F.col("c")) + F.abs("d") + F.col("noise")
    return made.withColumn("y", label.cast("float")).cache()


def model_creator(config: dict[str, Any]) -> Any:
    """Return a perceptron."""
    from torch import nn

    hidden = [nn.Linear(4, 32), nn.ReLU(), nn.Dropout(config["rate"])]
    return nn.Sequential(*hidden, nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))


def optimizer_creator(model: Any, config: dict[str, Any]) -> Any:
    """Return Adam."""
    import torch

    return torch.optim.Adam(model.parameters(), lr=0.002)


def loss_creator(config: dict[str, Any]) -> Any:
    """Return the mean of squared errors."""
    from torch import nn

    return nn.MSELoss()


def loss_of(data: DataFrame, rate: float, workers: int, seed: int) -> float:
    """Return the loss on the validation rows after five epochs."""
    est = Estimator.from_torch(
        model=model_creator,
        optimizer=optimizer_creator,
        loss=loss_creator,
        config={"rate": rate},
        num_workers=workers,
        seed=seed,
    )
    stats = est.fit(
        data.where("id % 5 > 0"),
        epochs=5,
        batch_size=128,
        verbose=0,
        validation_data=data.where("id % 5 = 0"),
        feature_cols=[FEATURES],
        label_cols=["y"],
    )
    est.shutdown()
    return float(stats["train_val_loss"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 3], metavar="N")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    context: Any = init_orca_context("local", cores=max(options.workers), memory="2g")
    data = rows(getattr(context, "sparkSession", context))
    runs, shown, largest = [], [], {}
    for rate in (0.0, 0.2):
        found = {
            (workers, seed): loss_of(data, rate, workers, seed)
            for seed in range(options.seeds)
            for workers in (1, *options.workers)
        }
        runs += [
            Run(seed, f"dropout {rate}, {workers} workers", {"loss": loss})
            for (workers, seed), loss in found.items()
        ]
        alone = [found[1, seed] for seed in range(options.seeds)]
        changes = [
            abs(found[workers, seed] / alone[seed] - 1)
            for seed in range(options.seeds)
            for workers in options.workers
        ]
        largest[rate] = max(changes)
        of_seeds = pstdev(alone) / (sum(alone) / len(alone))
        shown.append([rate, f"{alone[0]:.5f}", f"{max(changes):.1e}", f"{of_seeds:.1e}"])
    stop_orca_context()
    heads = ["dropout", "loss on one worker", "largest change by workers", "spread over seeds"]
    goals = [
        Goal("change of the loss by workers, without dropout", largest[0.0], 1e-4, at_most=True)
    ]
    setting = (
        f"Workers {options.workers} against 1, {options.seeds} seeds, five epochs of 150 steps."
    )
    text = table(heads, shown)
    sections = {"": setting, "Losses": text}
    path = write(
        "workers", "Training on other numbers of workers", sections, runs=runs, goals=goals
    )
    return conclude(path, [text], goals)


if __name__ == "__main__":
    sys.exit(main())
