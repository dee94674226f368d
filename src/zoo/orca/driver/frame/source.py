"""From a DataFrame to what a stage needs: the columns' spec, and a frame of a partition a worker.

Columns are checked against the DataFrame's schema, so nothing runs here. Workers find nulls and
ragged arrays while they spool the rows. Nothing is dropped or filled on the way.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField

from zoo.orca.driver.frame.columns import check_castable, column_spec, converted, is_vector
from zoo.orca.driver.frame.padding import check_names, padded_spec, with_masks
from zoo.orca.driver.frame.partitions import known_partitions
from zoo.orca.driver.frame.sequence import exchanged
from zoo.orca.driver.frame.stacks import check_stackable, stack_spec, stacked
from zoo.orca.driver.frame.vectors import packed, stored
from zoo.orca.errors import ColumnError
from zoo.orca.refusals import noted
from zoo.orca.wire.features import ColumnSpec, FeatureSpec, packed_name, quoted
from zoo.orca.wire.job import Placement
from zoo.orca.wire.padding import PaddedColumn, asked

#: In a frame with validation rows, the last column: true for those rows.
MARKER = "validation"

#: What one input is made of: a column, a list of columns to concatenate, or a column to pad.
InputColumns = str | Sequence[str] | PaddedColumn

#: Inputs by position (one column, or several inputs), or by the model's names for them.
ColumnNames = str | PaddedColumn | Sequence[InputColumns] | Mapping[str, InputColumns]


def read_spec(
    df: DataFrame,
    feature_cols: ColumnNames | None,
    label_cols: ColumnNames | None = None,
    weight_col: str | Mapping[str, str] | None = None,
    *,
    numbers_only: str = "",
    weights_by_output: bool = True,
) -> FeatureSpec:
    """Return the columns of a job by their roles, checked against the schema of `df`.

    Parameters
    ----------
    df : DataFrame
    feature_cols, label_cols : str, sequence, or dict
        Columns by position, or the model's input (output) names to columns. A list in place of a
        column is a stack: its columns, numbers or arrays of them, are concatenated. A
        `PaddedColumn` has arrays of unequal length, and may give the model a mask as well.
    weight_col : str, dict of str to str, or None
        A column of sample weights, or the model's output names to weight columns.
    numbers_only : str
        The framework's name for users, if it has no tensors of strings.
    weights_by_output : bool
        Whether the framework takes a dict as `weight_col`.

    Raises
    ------
    ColumnError
        If a column is missing, or no model input can take its type.
    """
    there = _Columns(df)
    features, feature_keys = _inputs(there, feature_cols, numbers_only)
    labels, label_keys = _labels(there, label_cols, numbers_only)
    spec = FeatureSpec(
        features=features,
        labels=labels,
        feature_keys=feature_keys,
        label_keys=label_keys,
        weight=_weight(there, weight_col) if isinstance(weight_col, str) else None,
        output_weights=_output_weights(there, weight_col, weights_by_output),
    )
    check_names(spec)
    return spec


def column_names(columns: Sequence[ColumnSpec], keys: Sequence[str] | None) -> ColumnNames:
    """Return the argument from which `read_spec` makes these columns."""
    masks = {one.mask_of: one.name for one in columns}
    names: list[InputColumns] = []
    for one in columns:
        if one.padding is not None:
            names.append(asked(one.name, one.padding, one.shape, masks.get(one.name)))
        elif not one.mask_of:
            names.append(list(one.parts) if one.parts else one.name)
    if keys is None:
        return names
    own = [key for key, one in zip(keys, columns, strict=True) if not one.mask_of]
    return dict(zip(own, names, strict=True))


#: Columns, and the model's names for them if they are named.
_Named = tuple[tuple[ColumnSpec, ...], tuple[str, ...] | None]


@noted(lambda: ((), None))
def _inputs(there: "_Columns", given: ColumnNames | None, numbers_only: str) -> _Named:
    names, keys = _named("feature_cols", given)
    if not names:
        raise ColumnError(
            "feature_cols must be given: the columns that are the model's inputs\n"
            f"The DataFrame has the columns {there.listed()}"
        )
    found, keys = _found([_spec(there, name, "feature_cols", numbers_only) for name in names], keys)
    masks = [name.mask if isinstance(name, PaddedColumn) else None for name in names]
    return with_masks(
        [one for one in found if one is not None],
        keys,
        [mask for one, mask in zip(found, masks, strict=True) if one is not None],
    )


@noted(lambda: ((), None))
def _labels(there: "_Columns", given: ColumnNames | None, numbers_only: str) -> _Named:
    names, keys = _named("label_cols", given)
    found, keys = _found([_spec(there, name, "label_cols", numbers_only) for name in names], keys)
    return tuple(one for one in found if one is not None), keys


def _found(
    specs: list[ColumnSpec | None], keys: tuple[str, ...] | None
) -> tuple[list[ColumnSpec | None], tuple[str, ...] | None]:
    """Return the columns, and the names of those that were not refused."""
    if keys is None:
        return specs, None
    return specs, tuple(k for k, one in zip(keys, specs, strict=True) if one is not None)


class Prepared(NamedTuple):
    """The frame of a stage, and how its rows are placed on the workers."""

    frame: DataFrame
    placement: Placement


def prepare(
    train: DataFrame,
    spec: FeatureSpec,
    workers: int,
    seed: int,
    validation: DataFrame | None = None,
    *,
    batch_size: int | None = None,
    shuffle: bool = False,
) -> Prepared:
    """Return the frame of a stage: a partition for each worker.

    Its columns are those of ``spec.columns``, named by position (``c0``, ``c1``, ...), in the Arrow
    types that the workers expect; Vectors are packed (`packed_name`). With `validation` it has the
    rows of both frames and a column `MARKER` that tells them apart. The exchange gives each worker
    a part of the rows' sequence (`zoo.orca.driver.frame.sequence`), cut as steps of `batch_size`
    rows need it. But if `train` is known to have one partition per worker, its rows stay where they
    are, unless `shuffle` asks for the exchange.

    Raises
    ------
    ColumnError
        If `validation` lacks a column, or the column's type does not fit.
    """
    there = _Columns(train)
    vectors = _vectors(there, spec)
    frame = train.select(*_named_by_position(_feature_columns(there, spec)), *vectors.values())
    names = [f"c{index}" for index in range(len(spec.columns))]
    sent = [_sent(index, index in vectors) for index in range(len(names))] if vectors else []
    shards: int | Column = batch_size or workers
    if validation is not None:
        there = _Columns(validation)
        columns = _named_by_position([_validation_column(there, one) for one in spec.columns])
        columns += [_validation_vector(there, spec.columns[index]) for index in vectors]
        other = validation.select(*columns, F.lit(True).alias(MARKER))
        frame = frame.withColumn(MARKER, F.lit(False)).unionAll(other)
        sent += [F.col(MARKER)] if sent else []
        # Validation rows have no steps yet. A batch may have fewer rows than there are workers.
        shards = F.when(F.col(MARKER), workers).otherwise(shards)
    # A union has the partitions of both frames, and a barrier stage cannot merge them.
    elif not shuffle and known_partitions(frame) == workers:
        return Prepared(frame.select(*sent) if sent else frame, Placement.AS_THEY_LAY)
    return Prepared(exchanged(frame, names, shards, workers, seed, sent), Placement.AT_RANDOM)


def without_rows(df: DataFrame, spec: FeatureSpec) -> DataFrame:
    """Return a frame of one partition with the columns of `spec` and no rows; never reads `df`."""
    fields = df.select(*_named_by_position(feature_columns(df, spec))).schema.fields
    none = without_any_rows(df.sparkSession, 1)
    return none.select(*(F.lit(None).cast(field.dataType).alias(field.name) for field in fields))


def without_any_rows(spark: SparkSession, workers: int) -> DataFrame:
    """Return a frame of no rows and a partition for each worker."""
    # Not an empty range: without a partition the stage would have no task. Not a text either: the
    # first one that a session parses takes a third of a second.
    return spark.range(0, workers, 1, workers).where(F.col("id") < 0)


def with_a_row(df: DataFrame, spec: FeatureSpec) -> DataFrame:
    """Return a frame of one partition with the columns of `spec` and one row without nulls."""
    frame = df.select(*_named_by_position(feature_columns(df, spec)))
    for name in frame.columns:
        frame = frame.where(F.col(name).isNotNull())
    return frame.limit(1).repartition(1)


def feature_columns(df: DataFrame, spec: FeatureSpec) -> list[Column]:
    """Return one expression for each of ``spec.columns``, in the Arrow type that workers expect."""
    return _feature_columns(_Columns(df), spec)


def is_case_sensitive(df: DataFrame) -> bool:
    """Whether Spark distinguishes names that differ only in case."""
    return str(df.sparkSession.conf.get("spark.sql.caseSensitive", "false")).lower() == "true"


def _expression(there: "_Columns", column: ColumnSpec, where: str) -> Column:
    fields = [there.find(source, where) for source in column.sources]
    return stacked(fields, column) if column.parts else converted(fields[0], column)


def _feature_columns(there: "_Columns", spec: FeatureSpec) -> list[Column]:
    return [_expression(there, column, "the DataFrame") for column in spec.columns]


@noted(lambda: F.lit(None))
def _validation_column(there: "_Columns", column: ColumnSpec) -> Column:
    fields = [there.find(source, "validation_data") for source in column.sources]
    if column.parts:
        check_stackable(fields, column, "validation_data")
    else:
        check_castable(fields[0], column, "validation_data")
    return _expression(there, column, "validation_data")


def _vectors(there: "_Columns", spec: FeatureSpec) -> dict[int, Column]:
    """Return the columns that are Vectors, as Spark holds them, by position."""
    alone = {at: one for at, one in enumerate(spec.columns) if not one.parts}
    fields = {at: there.find(one.name, "the DataFrame") for at, one in alone.items()}
    return {
        at: stored(field).alias(f"stored{at}")
        for at, field in fields.items()
        if is_vector(field.dataType)
    }


@noted(lambda: F.lit(None))
def _validation_vector(there: "_Columns", column: ColumnSpec) -> Column:
    return stored(there.find(column.name, "validation_data"))


def _sent(index: int, is_packed: bool) -> Column:
    """Return a column of a frame as the workers get it."""
    column = F.col(f"c{index}")
    if not is_packed:
        return column
    return packed(F.col(f"stored{index}"), column).alias(packed_name(index))


def _named_by_position(columns: list[Column]) -> list[Column]:
    # The user's names may hold dots or backticks, or differ only in case.
    return [column.alias(f"c{index}") for index, column in enumerate(columns)]


def _named(
    argument: str, given: ColumnNames | None
) -> tuple[tuple[InputColumns, ...], tuple[str, ...] | None]:
    """Return the columns that an argument names, and the model's names for them, if any."""
    if given is None:
        return (), None
    keys = tuple(given) if isinstance(given, Mapping) else None
    if isinstance(given, Mapping):
        names = tuple(given.values())
    else:
        names = (given,) if isinstance(given, (str, PaddedColumn)) else tuple(given)
    stacks = [one for name in names if isinstance(name, (list, tuple)) for one in name]
    alone = [name for name in names if not isinstance(name, (list, tuple, PaddedColumn))]
    wrong = [name for name in (*alone, *stacks, *(keys or ())) if not isinstance(name, str)]
    if wrong:
        raise ColumnError(
            f"{argument} takes names of columns; got {wrong[0]!r} of type "
            f"{type(wrong[0]).__name__}\nPass a list of names, a dict of input names to columns, "
            "or a list within the list to stack columns into one input"
        )
    empty = [name for name in names if not name]
    if empty:
        raise ColumnError(
            f"{argument} has an input without a column: {list(names)!r}\n"
            "Leave the empty name or list out, or name its columns"
        )
    return names, keys if names else None


@noted()
def _spec(
    there: "_Columns", name: InputColumns, argument: str, numbers_only: str
) -> ColumnSpec | None:
    if isinstance(name, PaddedColumn):
        if name.mask and argument != "feature_cols":
            raise ColumnError(
                f"{argument}: column({name.name!r}) has mask={name.mask!r}, and only inputs of the "
                "model have masks\nLeave mask out; a loss can ignore the value of pad"
            )
        spec = column_spec(there.find(name.name, argument), argument)
        spec = padded_spec(spec, name, argument)
    elif isinstance(name, str):
        spec = column_spec(there.find(name, argument), argument)
    else:
        parts = [_part(there, one, argument) for one in name]
        fields = [part for part in parts if part is not None]
        if len(fields) < len(parts):
            return None
        spec = stack_spec(fields, argument)
    if spec.dtype == "string" and numbers_only:
        raise ColumnError(f"{argument}: {spec.refused(f'{numbers_only} has no tensors of such')}")
    return spec


@noted()
def _part(there: "_Columns", name: str, argument: str) -> StructField | None:
    """Return a column of a stack, all of which are looked for."""
    return there.find(name, argument)


@noted(tuple)
def _output_weights(
    there: "_Columns", given: str | Mapping[str, str] | None, is_keras: bool
) -> tuple[tuple[str, ColumnSpec], ...]:
    if given is None or isinstance(given, str):
        return ()
    named = is_keras and isinstance(given, Mapping) and bool(given)
    if not named or not all(isinstance(name, str) for pair in given.items() for name in pair):
        kinds = "the name of a column" + (", or a dict of outputs to such" if is_keras else "")
        way = ", or {'output': 'weight'}" if is_keras else ""
        raise ColumnError(
            f"sample_weight_col is {kinds}; got {given!r}\nWrite sample_weight_col='weight'{way}"
        )
    found = {output: _weight(there, name) for output, name in given.items()}
    return tuple((output, one) for output, one in found.items() if one is not None)


@noted()
def _weight(there: "_Columns", name: str) -> ColumnSpec | None:
    where = "the sample weights"
    spec = column_spec(there.find(name, where), where)
    if spec.shape or spec.binary or spec.dtype in ("string", "bool"):
        raise ColumnError(
            f"{where}: column {spec.name!r} must hold one number a row\n{_one_number(spec)}"
        )
    return spec


def _one_number(weight: ColumnSpec) -> str:
    """Return the advice that turns another column into one of numbers."""
    if weight.binary or len(weight.shape) > 1:
        return "Name a column of numbers"
    value = f"F.col({quoted(weight.name)!r})" + ("[0]" if weight.shape else "")
    return f"Make one of it: df = df.withColumn({weight.name!r}, {value}.cast('float'))"


class _Columns:
    """The columns of a DataFrame, by name; over Spark Connect each look makes a schema anew."""

    def __init__(self, df: DataFrame) -> None:
        self._df, self._fields = df, df.schema.fields

    def find(self, name: str, where: str) -> StructField:
        """Return the one column that `name` means, by Spark's rule for case."""
        found = [field for field in self._fields if field.name.lower() == name.lower()]
        exact = [field for field in found if field.name == name]
        if found and (len(found) > 1 or not exact) and is_case_sensitive(self._df):
            found = exact
        if len(found) == 1:
            return found[0]
        if found:
            raise ColumnError(
                f"{where}: the DataFrame has {len(found)} columns named {name!r}\n"
                "Rename all but one, or drop them"
            )
        close = difflib.get_close_matches(name, [field.name for field in self._fields], 3)
        hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ColumnError(
            f"{where}: there is no column {name!r}\n{hint}"
            f"The DataFrame has the columns {self.listed()}"
        )

    def listed(self) -> str:
        """Return the first columns' names for an error."""
        names = [repr(field.name) for field in self._fields]
        return ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
