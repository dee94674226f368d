"""Rows a second of a model over histories: stored at one length, and padded to it by the workers.

python benchmarks/padded.py [--rounds N] [--rows N] [--epochs N]

Both DataFrames hold the same numbers once they are padded: 50 of them a row. PyTorch's model embeds
them and takes their mean. The contestants train in turns in one session, with one worker. A figure
is the median of all epochs but the first.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Any

from _clocks import ShippedClock, epoch_seconds, read_seen
from _report import Goal, conclude, ratio, spread, table, take_turns, values, write
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from zoo.orca import OrcaContext, init_orca_context, stop_orca_context
from zoo.orca.data import column
from zoo.orca.learn.pytorch import Estimator

LENGTH, ITEMS, BATCH = 50, 10_000, 1280
FIGURE = "rows/s"
MUST = 0.9


def model_creator(config: dict[str, Any]) -> Any:
    """Return the mean of 50 embeddings, and a perceptron on it."""
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = nn.EmbeddingBag(ITEMS, 16, mode="mean")
            self.rest = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))

        def forward(self, history: torch.Tensor) -> torch.Tensor:
            return self.rest(self.items(history.long())).squeeze(1)

    return Model()


def optimizer_creator(model: Any, config: dict[str, Any]) -> Any:
    """Return plain gradient descent."""
    import torch

    return torch.optim.SGD(model.parameters(), lr=0.01)


def loss_creator(config: dict[str, Any]) -> Any:
    """Return the mean of squared errors."""
    from torch import nn

    return nn.MSELoss()


def frames(rows: int) -> dict[str, DataFrame]:
    """Return the histories at their own lengths, and padded by Spark."""
    spark = OrcaContext.get_spark_session()
    length = (F.rand(1) * LENGTH).cast("int") + 1
    numbers = F.transform(
        F.sequence(F.lit(1), "length"), lambda x: F.pmod(F.xxhash64("id", x), ITEMS)
    )
    ragged = (
        spark.range(0, rows, 1, 4)
        .withColumn("length", length)
        .select(numbers.cast("array<int>").alias("history"), F.rand(2).cast("float").alias("y"))
    )
    zeros = F.array_repeat(F.lit(0), F.lit(LENGTH) - F.size("history"))
    fixed = ragged.withColumn("history", F.concat("history", zeros))
    found = {"padded": ragged.cache(), "fixed": fixed.cache()}
    for frame in found.values():
        frame.count()
    return found


def measure(frame: DataFrame, feature: Any, epochs: int) -> dict[str, float]:
    """Return the rows a second of one contestant."""
    est = Estimator.from_torch(
        model=model_creator, optimizer=optimizer_creator, loss=loss_creator, num_workers=1
    )
    with tempfile.TemporaryDirectory() as clocks:
        est.fit(
            frame,
            epochs=epochs,
            batch_size=BATCH,
            feature_cols=[feature],
            label_cols=["y"],
            callbacks=[ShippedClock(clocks, "pytorch")],
        )
        return {FIGURE: frame.count() / median(epoch_seconds(read_seen(clocks))[1:])}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, default=4, help="the first does not count")
    options = parser.parse_args(arguments)
    init_orca_context("local", cores=2, memory="4g")
    found = frames(options.rows)
    features = {"padded": column("history", length=LENGTH), "fixed": "history"}
    runs = take_turns(
        {
            name: partial(measure, found[name], one, options.epochs)
            for name, one in features.items()
        },
        options.rounds,
    )
    stop_orca_context()
    figures = {name: values(runs, name, FIGURE) for name in features}
    value, within = ratio(figures["padded"], figures["fixed"])
    goals = [Goal("padded ÷ fixed", value, MUST, detail=within)]
    rates = table(
        ["contestant", "rows/s: median (min–max)"],
        [[name, spread(one)] for name, one in figures.items()],
    )
    setting = f"{options.rows:,} rows of {LENGTH} numbers, batches of {BATCH:,}, one worker."
    path = write(
        "padded", "Histories that are padded", {"": setting, "Rates": rates}, runs=runs, goals=goals
    )
    return conclude(path, [rates], goals)


if __name__ == "__main__":
    sys.exit(main())
