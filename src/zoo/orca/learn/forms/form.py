"""What a form of rows knows: how it becomes a DataFrame, and how predictions go back into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pyspark.sql import DataFrame, SparkSession

from zoo.orca.driver.frame.source import ColumnNames
from zoo.orca.driver.predict import Answer
from zoo.orca.wire.padding import PaddedColumn


class Columns(NamedTuple):
    """The columns of a call, as the user names them; None where nobody has said.

    Parameters
    ----------
    features, labels : str, sequence, dict or None
        As `feature_cols` and `label_cols` of the estimators. An empty tuple stands for a call that
        has none.
    weight : str, dict or None
        As `sample_weight_col`.
    """

    features: ColumnNames | None = None
    labels: ColumnNames | None = None
    weight: str | Mapping[str, str] | None = None

    def or_else(self, others: Columns) -> Columns:
        """Return these columns; where nobody has said, the others."""
        return Columns(
            others.features if self.features is None else self.features,
            others.labels if self.labels is None else self.labels,
            others.weight if self.weight is None else self.weight,
        )

    def names(self) -> set[str]:
        """Return every name in lower case, by which Spark finds columns."""
        return {name.lower() for given in self for name in _names_in(given)}

    def padded(self) -> dict[str, PaddedColumn]:
        """Return the columns that are padded, by their names in lower case."""
        return {one.name.lower(): one for given in self for one in _padded_in(given)}


def _padded_in(given: Any) -> Iterator[PaddedColumn]:
    several = given.values() if isinstance(given, Mapping) else given
    if isinstance(several, PaddedColumn):
        yield several
    elif not isinstance(several, str) and several is not None:
        yield from (one for one in several if isinstance(one, PaddedColumn))


def _names_in(given: Any) -> Iterator[str]:
    if isinstance(given, str):
        yield given
    elif isinstance(given, Mapping):
        for one in given.values():
            yield from _names_in(one)
    elif isinstance(given, Sequence):
        for one in given:
            yield from _names_in(one)
    elif isinstance(name := getattr(given, "name", None), str):
        yield name  # a column with more to it than its name


class Form(Protocol):
    """Rows as the user gave them. Making one looks at types only, and moves nothing."""

    #: What a prediction is to have, for `answer`.
    asks: Answer
    #: Whether the partitions of the frame are the user's own: such rows may stay where they lie.
    is_placed: bool

    @property
    def rows(self) -> int | None:
        """How many rows there are; None where only counting them would tell."""

    @property
    def session(self) -> SparkSession | None:
        """The session that the rows are in; None if they are not in Spark."""

    def own_columns(self) -> Columns:
        """Return the columns that the form itself tells, where the user names none."""

    def frame(self, spark: SparkSession, columns: Columns) -> DataFrame:
        """Return the rows, in their order, as a DataFrame of the session.

        It has all the columns' names. Those that `columns` does not name may hold nothing.

        Raises
        ------
        ColumnError
            If a column that is named cannot become one of Spark's.
        DataError
            If nulls are found on the way.
        """

    def answer(self, predicted: DataFrame, outputs: Sequence[str]) -> Any:
        """Return predictions in this form.

        Parameters
        ----------
        predicted : DataFrame
            What `asks` says, the rows in the order of `frame`.
        outputs : sequence of str
            The columns that are the model's outputs.
        """
