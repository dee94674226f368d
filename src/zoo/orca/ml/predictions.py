"""From a model's output to the columns that Spark ML's evaluators read; all of it on the JVM."""

from collections.abc import Callable, Sequence
from typing import Any

from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from zoo.orca.driver.frame.source import is_case_sensitive
from zoo.orca.errors import ColumnError, InvalidInputError, ModelError
from zoo.orca.wire.features import quoted
from zoo.orca.wire.outputs import OutputSpec, Scale


def check_new(dataset: DataFrame, columns: dict[str, str]) -> None:
    """Refuse output columns that are there already.

    Parameters
    ----------
    dataset : DataFrame
    columns : dict of str to str
        Parameters to the names of columns.

    Raises
    ------
    ColumnError
        The message names the setter.
    """
    exact = is_case_sensitive(dataset)
    there = {name if exact else name.lower() for name in dataset.columns}
    for param, name in columns.items():
        known = name if exact else name.lower()
        if known in there:
            setter = f"set{param[0].upper()}{param[1:]}"
            raise ColumnError(
                f"{param}: the DataFrame already has a column {name!r}\n"
                f"Name another with {setter}('other'), or drop it: df.drop({name!r})"
            )
        there.add(known)


def only_output(outputs: Sequence[OutputSpec], stage: str) -> OutputSpec:
    """Return the one output of a model.

    Raises
    ------
    ModelError
        If it has several, or the rows of its output are no list of numbers.
    """
    if len(outputs) != 1:
        names = [output.name for output in outputs]
        raise ModelError(
            f"{stage}: the model has {len(outputs)} outputs {names}, and a stage of Spark ML has "
            "one\nReturn one output, or use model.estimator.predict, which gives a column for each"
        )
    output = outputs[0]
    if output.rank > 2:
        raise ModelError(
            f"{stage}: a row of the model's output has the shape {output.row_shape}\n"
            "Return (batch,) or (batch, n), or use model.estimator.predict"
        )
    return output


def known_scale(told: Scale | None, output: OutputSpec, stage: str) -> Scale:
    """Return what an output of classes is.

    Raises
    ------
    InvalidInputError
        If neither the stage nor the model's loss says it, or it cannot be.
    """
    scale = told or output.scale
    if scale is None:
        raise InvalidInputError(
            f"{stage}: the model's loss does not say whether its output {output.name!r} is of "
            f"logits or probabilities\nSay it with setOutputScale({str(Scale.LOGITS)!r}) or "
            f"setOutputScale({str(Scale.PROBABILITIES)!r})"
        )
    if scale == Scale.LOGARITHMS and _is_one(output):
        raise InvalidInputError(
            f"{stage}: outputScale is {str(scale)!r}, and the model has one number a row\n"
            "Return the logarithm for each class, (batch, classes)"
        )
    return scale


def class_columns(
    source: Column, output: OutputSpec, scale: Scale
) -> tuple[Column, Column, Column]:
    """Return raw predictions and probabilities, as Vectors, and the class with the largest one.

    One number a row is of class 1; class 0 gets what it leaves.

    Parameters
    ----------
    source : Column
        What `predict` gives: a number, or a Vector.
    output : OutputSpec
    scale : Scale
    """
    if _is_one(output):
        one = _number(source, output)
        if scale == Scale.LOGITS:
            raw = F.array(-one, one)
            # Not 1 - p, which has no digits left where p is almost 1.
            chances = F.array(1 / (1 + F.exp(one)), 1 / (1 + F.exp(-one)))
        else:
            raw = chances = F.array(1 - one, one)
    else:
        raw = _array(source)
        chances = _chances(raw, scale)
    place = F.array_position(raw, F.array_max(raw)) - 1
    return array_to_vector(raw), array_to_vector(chances), place.cast(T.DoubleType())


def number_column(source: Column, output: OutputSpec, stage: str) -> Column:
    """Return the number that a regressor predicts.

    Raises
    ------
    ModelError
        If a row has several.
    """
    if not _is_one(output):
        raise ModelError(
            f"{stage}: a row of the model's output has {output.row_shape[0]} numbers, and a "
            "prediction is one\nReturn (batch,) or (batch, 1), or use model.estimator.predict"
        )
    return _number(source, output)


def _is_one(output: OutputSpec) -> bool:
    return output.row_shape in ((), (1,))


def _number(source: Column, output: OutputSpec) -> Column:
    return source.cast(T.DoubleType()) if output.rank == 1 else _array(source)[0]


def _array(source: Column) -> Column:
    return vector_to_array(source)


def _chances(raw: Column, scale: Scale) -> Column:
    """Return the probabilities of several classes."""
    if scale == Scale.PROBABILITIES:
        return raw
    if scale == Scale.LOGARITHMS:
        return F.transform(raw, F.exp)
    highest = _once(
        F.struct(raw.alias("raw"), F.array_max(raw).alias("top")),
        lambda one: F.transform(one["raw"], lambda logit: F.exp(logit - one["top"])),
    )
    return _once(
        highest,
        lambda powers: _once(
            F.struct(
                powers.alias("powers"),
                F.aggregate(powers, F.lit(0.0), lambda total, one: total + one).alias("total"),
            ),
            lambda both: F.transform(both["powers"], lambda power: power / both["total"]),
        ),
    )


def _once(value: Column, body: Callable[[Column], Any]) -> Column:
    """Return what `body` makes of a value that is computed once.

    Spark would compute what an inner function of `transform` refers to again for each element.
    """
    return F.transform(F.array(value), body)[0]


def renamed(predicted: DataFrame, source: str, columns: dict[str, Column]) -> DataFrame:
    """Return a prediction with these columns in place of the one that it was made as."""
    return predicted.withColumns(columns).drop(F.col(quoted(source)))
