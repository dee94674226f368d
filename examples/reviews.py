"""Tells good reviews from bad ones: text in a DataFrame, and a small transformer in PyTorch.

python examples/reviews.py [--rows N] [--epochs N] [--workers N]

Spark splits the text into tokens and numbers them. Reviews have unequal lengths, so `column` pads
them, and gives the transformer the mask of what is no padding.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pyspark.ml.feature import CountVectorizer, RegexTokenizer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from zoo.orca import OrcaContext
from zoo.orca.data import column
from zoo.orca.learn.metrics import Accuracy
from zoo.orca.learn.pytorch import Estimator

GOOD = ("fine", "lovely", "clever", "warm", "brilliant")
BAD = ("dull", "flat", "loud", "clumsy", "tired")
OTHER = ("the", "film", "is", "and", "plot", "was", "a", "music", "so", "quite")
TOKENS = column("tokens", pad=0, length=20, keep="first", mask="is_token")


def run(options: argparse.Namespace) -> None:
    """Write reviews, train on them, and count what is told right."""
    spark = OrcaContext.get_spark_session()
    rows, words = numbered(make_rows(spark, options.rows))
    train, test = rows.randomSplit([0.8, 0.2], seed=1)
    est = Estimator.from_torch(
        model=lambda config: Transformer(**config),
        config={"words": words},
        optimizer=lambda model, config: torch.optim.Adam(model.parameters(), 0.005),
        loss=torch.nn.CrossEntropyLoss(),
        metrics=Accuracy(),
        num_workers=options.workers,
    )
    est.fit(
        train,
        epochs=options.epochs,
        batch_size=32,
        feature_cols=[TOKENS],
        label_cols=["is_good"],
        verbose=0,
    )
    print(est.evaluate(test, batch_size=32, verbose=0))
    est.predict(test).select("text", "is_good", "prediction").show(3, truncate=60)
    est.shutdown()


def make_rows(spark: SparkSession, rows: int) -> DataFrame:
    """Return reviews of 3 to 25 words; the good ones have more of the good words."""
    random = np.random.default_rng(0)
    written = []
    for number in range(rows):
        is_good = number % 2
        words = list(random.choice(OTHER, random.integers(2, 22)))
        words += list(random.choice(GOOD if is_good else BAD, random.integers(1, 4)))
        random.shuffle(words)
        written.append((" ".join(words), is_good))
    return spark.createDataFrame(written, "text string, is_good int")


def numbered(reviews: DataFrame) -> tuple[DataFrame, int]:
    """Return the reviews with their words as numbers from 1 on, and the number of words."""
    split = RegexTokenizer(inputCol="text", outputCol="words").transform(reviews)
    words = CountVectorizer(inputCol="words", outputCol="counts").fit(split).vocabulary
    numbers = F.create_map(
        *[F.lit(one) for pair in zip(words, range(1, len(words) + 1), strict=True) for one in pair]
    )
    tokens = F.transform("words", lambda word: numbers[word])
    return split.select("text", "is_good", tokens.alias("tokens")), len(words)


class Transformer(torch.nn.Module):
    """Attention among the words of a review, and their mean."""

    def __init__(self, words: int, width: int = 16) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words + 1, width)
        self.layer = torch.nn.TransformerEncoderLayer(
            width, nhead=2, dim_feedforward=32, dropout=0.0, batch_first=True
        )
        self.out = torch.nn.Linear(width, 2)

    def forward(self, tokens: Any, is_token: Any) -> Any:
        """Return a score for each of the two classes."""
        found = self.layer(self.embedding(tokens), src_key_padding_mask=~is_token)
        weights = is_token.unsqueeze(-1).float()
        return self.out((found * weights).sum(1) / weights.sum(1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    run(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
