"""Recommends what comes next: histories of unequal length, and negatives drawn on the workers.

python examples/histories.py [--rows N] [--epochs N] [--workers N]

A row is what a user has seen, and what the user took next. In training, `batch_transform` adds
three other items for each that was taken, new ones in every epoch. The model is PyTorch.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from zoo.orca import OrcaContext
from zoo.orca.data import column
from zoo.orca.learn.pytorch import Estimator

ITEMS, KINDS, NEGATIVES = 60, 6, 3
HISTORY = column("history", pad=0, length=10, keep="last", mask="is_item")


def run(options: argparse.Namespace) -> None:
    """Make histories, train on them, and rank the item that was taken among others."""
    spark = OrcaContext.get_spark_session()
    train, test = make_rows(spark, options.rows).randomSplit([0.8, 0.2], seed=1)
    est = Estimator.from_torch(
        model=lambda config: Recommender(),
        optimizer=lambda model, config: torch.optim.Adam(model.parameters(), 0.01),
        loss=torch.nn.BCEWithLogitsLoss(),
        batch_transform=with_negatives,
        num_workers=options.workers,
    )
    est.fit(
        train,
        epochs=options.epochs,
        batch_size=32,
        feature_cols=[HISTORY, "item"],
        label_cols=["taken"],
        verbose=0,
    )
    other = test.withColumn("item", F.col("item") % ITEMS + 1)
    means = [est.predict(rows).agg(F.avg("prediction")).first()[0] for rows in (test, other)]
    print(f"mean score of items taken: {means[0]:.2f}, of others: {means[1]:.2f}")
    est.shutdown()


def make_rows(spark: SparkSession, rows: int) -> DataFrame:
    """Return histories of 1 to 15 items, most of one kind, and an item of that kind."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(rows):
        kind, size = int(random.integers(KINDS)), int(random.integers(2, 17))
        own = kind + KINDS * random.integers(0, ITEMS // KINDS, size) + 1
        seen = np.where(random.random(size) < 0.8, own, random.integers(1, ITEMS + 1, size))
        made.append((seen[:-1].tolist(), int(own[-1]), 1.0))
    return spark.createDataFrame(made, "history array<int>, item int, taken float")


def with_negatives(
    columns: dict[str, Any], training: bool, random: np.random.Generator
) -> dict[str, Any]:
    """In training, put rows with other items behind the rows."""
    if not training:
        return columns
    rows = len(columns["item"])
    found = {name: np.concatenate([one] * (1 + NEGATIVES)) for name, one in columns.items()}
    found["item"][rows:] = random.integers(1, ITEMS + 1, NEGATIVES * rows)
    found["taken"][rows:] = 0
    return found


class Recommender(torch.nn.Module):
    """How near an item is to the mean of a history."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.seen = torch.nn.Embedding(ITEMS + 1, width)
        self.next = torch.nn.Embedding(ITEMS + 1, width)

    def forward(self, history: Any, is_item: Any, item: Any) -> Any:
        """Return a score for each row."""
        weights = is_item.unsqueeze(-1).float()
        mean = (self.seen(history) * weights).sum(1) / weights.sum(1).clamp(min=1)
        return (mean * self.next(item)).sum(-1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--workers", type=int, default=1)
    run(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
