"""The door through which rows come into `fit`, `evaluate` and `predict`, whatever their form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from zoo.orca.context.context import OrcaContext
from zoo.orca.context.sessions import known_session
from zoo.orca.data.shard.xshards import XShards
from zoo.orca.data.tf.data import Dataset
from zoo.orca.driver.predict import Answer
from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.forms.arrays import ArraysForm
from zoo.orca.learn.forms.arrow import ArrowForm
from zoo.orca.learn.forms.creators import Creators, creators_of, is_creator
from zoo.orca.learn.forms.form import Columns, Form
from zoo.orca.learn.forms.on_spark import PandasOnSparkForm, SparkForm
from zoo.orca.learn.forms.pandas import PandasForm
from zoo.orca.learn.forms.shards import ShardsForm
from zoo.orca.refusals import noted
from zoo.orca.wire.features import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Entered:
    """Rows that came in: as a DataFrame, with the columns of the call.

    Parameters
    ----------
    form : Form
    frame : DataFrame
    columns : Columns
        What the user named; else what the form tells; else what the model has seen.
    creators : Creators or None
        What makes the data on the workers; the frame is then empty.
    is_known : bool
        False where, in a rehearsal, the rows were refused as a whole; the frame is then empty.
    """

    form: Form
    frame: DataFrame
    columns: Columns
    creators: Creators | None = None
    is_known: bool = True

    def spec(self, read: Callable[..., FeatureSpec], **checks: Any) -> FeatureSpec:
        """Return the columns by their roles, as `read_spec` does; a creator has none."""
        if self.creators is not None or not self.is_known:
            return FeatureSpec(features=())
        return read(self.frame, *self.columns, **checks)

    @property
    def asks(self) -> Answer:
        """What a prediction is to have for `answer`."""
        return self.form.asks

    @noted(lambda: True)
    def shuffle(self, given: bool | None) -> bool | None:
        """Return the argument `shuffle` of a `fit`.

        Rows from outside of Spark have no place of their own, so that their order is always that
        of the exchange: the same on any number of workers.
        """
        if self.creators is not None and given is not None:
            raise InvalidInputError(
                f"shuffle={given} places the rows of a DataFrame, and data is a creator\n"
                "Leave it out, and let the loader shuffle, as DataLoader(..., shuffle=True) does"
            )
        return given if self.form.is_placed or given is False else True

    def answer(self, predicted: DataFrame) -> Any:
        """Return predictions in the form that the rows came in."""
        kept = len(self.frame.columns) if self.asks.keeps_columns else 0
        return self.form.answer(predicted, predicted.columns[kept:])


def entered(
    data: Any,
    columns: Columns,
    *,
    known: Columns | None = None,
    argument: str = "data",
    data_config: Mapping[str, Any] | None = None,
) -> Entered:
    """Return rows of any form as a DataFrame.

    Parameters
    ----------
    data : object
    columns : Columns
        What the user named.
    known : Columns, optional
        What the model has seen, for where neither the user nor the form says anything.
    argument : str
        What the user calls `data`.
    data_config : dict, optional
        What a creator's `config` has beside the estimator's.

    Raises
    ------
    InvalidInputError
        If `data` has none of the forms, or a column cannot be used.
    """
    if is_creator(data):
        return _created(creators_of(data, None, columns, data_config))
    return _entered(form_of(data, argument), None, columns, known)


def entered_both(
    data: Any,
    validation_data: Any,
    columns: Columns,
    data_config: Mapping[str, Any] | None = None,
) -> tuple[Entered, DataFrame | None]:
    """Return the rows to train on, and those to validate with, if any: in any two forms.

    Both are in one session: that of the first of them which is in Spark.

    Raises
    ------
    InvalidInputError
        As `entered`.
    """
    creators = creators_of(data, validation_data, columns, data_config)
    if creators is not None:
        return _created(creators), None
    if is_creator(data) or is_creator(validation_data):  # refused in a rehearsal
        return _created(None), None
    form = _form(data, "data")
    if validation_data is None:
        return _found(form, None, columns), None
    other = _form(validation_data, "validation_data")
    found = _found(form, None if other is None else other.session, columns)
    if other is None or not found.is_known:
        return found, None
    validation = _found(other, found.frame.sparkSession, found.columns)
    return found, validation.frame if validation.is_known else None


@noted()
def _form(data: Any, argument: str) -> Form | None:
    return form_of(data, argument)


def _found(form: Form | None, session: SparkSession | None, columns: Columns) -> Entered:
    """Return the rows of a form; in a rehearsal, none if they are refused."""
    entered = None if form is None else noted()(_entered)(form, session, columns, None)
    return entered or _created(None)


def _created(creators: Creators | None) -> Entered:
    session = known_session() or OrcaContext.get_spark_session()
    form = SparkForm(session.range(0))
    return Entered(
        form=form,
        frame=session.range(0),
        columns=Columns(),
        creators=creators,
        is_known=creators is not None,
    )


def form_of(data: Any, argument: str) -> Form:
    """Return the form of what a user gave as `argument`; imports nothing to find out.

    Raises
    ------
    InvalidInputError
        If it has none of the forms; says how to make one.
    """
    if isinstance(data, DataFrame):
        return SparkForm(data)
    if _is(data, "pyspark.pandas.", "DataFrame"):
        return PandasOnSparkForm(data)
    if _is(data, "pandas.", "DataFrame"):
        return PandasForm(data, argument)
    if _is(data, "pyarrow.", "Table", "RecordBatch"):
        return ArrowForm(data, argument)
    if isinstance(data, XShards):
        return ShardsForm(data)
    if isinstance(data, Dataset):
        return ShardsForm(data.get_xshards())
    if isinstance(data, Mapping):
        return ArraysForm(data, argument)
    raise InvalidInputError(_refused(data, argument))


def _entered(
    form: Form, other: SparkSession | None, columns: Columns, known: Columns | None
) -> Entered:
    session = form.session or other or known_session() or OrcaContext.get_spark_session()
    columns = columns.or_else(form.own_columns())
    if known is not None:
        columns = columns.or_else(known)
    return Entered(form=form, frame=form.frame(session, columns), columns=columns)


def _is(data: Any, package: str, *names: str) -> bool:
    """Whether an object is of one of the classes of a package, or of a subclass."""
    return any(
        f"{kind.__module__}.".startswith(package) and kind.__name__ in names
        for kind in type(data).__mro__
    )


_FORMS = (
    "a DataFrame of Spark or pandas, an Arrow table or a dict of arrays, an XShards, or a function "
    "that makes batches"
)


def _refused(data: Any, argument: str) -> str:
    kind = f"{type(data).__module__}.{type(data).__qualname__}"
    way = "Pass a Spark DataFrame, as spark.read and spark.createDataFrame(...) return it"
    ways = (w for start, w in _WAYS.items() if kind.startswith(start))
    way = next(ways, _LOADER if _has_batches(data) else way)
    kind = kind.removeprefix("builtins.")
    return f"{argument} must be {_FORMS}, got {_a(kind)}\n{way.format(argument=argument)}"


def _has_batches(data: Any) -> bool:
    """Whether an object looks like a loader, a data set, or a generator."""
    kind = type(data)
    return hasattr(kind, "__iter__") or (hasattr(kind, "__getitem__") and hasattr(kind, "__len__"))


def _a(kind: str) -> str:
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


#: What makes rows of a loader, which cannot travel to the workers as it is.
_LOADER = (
    "Pass a function that makes it: def creator(config, batch_size): ..., which returns it on each "
    "worker"
)
#: The beginnings of classes' names, and what makes a form of their objects.
_WAYS = {
    "pandas.core.series.": "Make a frame of it: {argument}.to_frame('x')",
    "polars.": "Make an Arrow table of it: {argument}.to_arrow()",
    "pyarrow.": "Make a table of it: pyarrow.table({{'x': {argument}}})",
    "numpy.": "Pass a dict: {{'x': {argument}, 'y': labels}}, where x are the model's inputs",
    "pyspark.core.rdd.": "Make a DataFrame of it: {argument}.toDF(['x', 'y']), a name for each "
    "column",
    "pyspark.pandas.": "Make a frame of it: {argument}.to_frame('x')",
    "builtins.str": "Read a DataFrame from there: spark.read.parquet({argument}), or "
    ".csv({argument}, header=True)",
    "builtins.tuple": "Pass a dict: {{'x': inputs, 'y': labels}}",
    "builtins.list": "Pass a dict: {{'x': inputs, 'y': labels}}",
}
