"""From a model's output to the columns that Spark ML's evaluators read.

They are made where the model runs: an evaluator reads probabilities even for a measure that needs
none, and Spark's own functions of arrays take several times as long for a softmax.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from zoo.orca.driver.frame.source import is_case_sensitive
from zoo.orca.errors import ColumnError, InvalidInputError, ModelError
from zoo.orca.wire.features import quoted
from zoo.orca.wire.outputs import OutputSpec, Scale
from zoo.orca.wire.predicting.column_forms import ColumnForm, ColumnKind, is_one


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
        If it has several, or a row of its output is no list of numbers.
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
    if output.dtype == "string":
        raise ModelError(
            f"{stage}: the model's output {output.name!r} is text, and a stage of Spark ML gives "
            "numbers\nReturn numbers, or use model.estimator.predict"
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
    if scale is Scale.LOGARITHMS and is_one(output):
        raise InvalidInputError(
            f"{stage}: outputScale is {str(scale)!r}, and the model has one number a row\n"
            "Return the logarithm for each class, (batch, classes)"
        )
    return scale


@dataclass(frozen=True, slots=True)
class AsClasses:
    """Asks for what Spark ML's evaluators of classes read.

    Parameters
    ----------
    told : Scale or None
        What the model's numbers are, as the stage says; None: as its loss says.
    stage : str
        Named in errors.
    """

    told: Scale | None
    stage: str

    def forms(self, outputs: Sequence[OutputSpec], has_vectors: bool) -> tuple[ColumnForm, ...]:
        """Return the form of the one output.

        Raises
        ------
        ModelError, InvalidInputError
            As `only_output` and `known_scale`.
        """
        output = only_output(outputs, self.stage)
        scale = known_scale(self.told, output, self.stage)
        return (ColumnForm(kind=ColumnKind.CLASSES, scale=scale),)


@dataclass(frozen=True, slots=True)
class AsNumber:
    """Asks for the number that a regressor predicts.

    Parameters
    ----------
    stage : str
        Named in errors.
    """

    stage: str

    def forms(self, outputs: Sequence[OutputSpec], has_vectors: bool) -> tuple[ColumnForm, ...]:
        """Return the form of the one output.

        Raises
        ------
        ModelError
            As `only_output`; or if a row has several numbers.
        """
        output = only_output(outputs, self.stage)
        if not is_one(output):
            raise ModelError(
                f"{self.stage}: a row of the model's output has {output.row_shape[0]} numbers, and "
                "a prediction is one\nReturn (batch,) or (batch, 1), or use "
                "model.estimator.predict"
            )
        return (ColumnForm(kind=ColumnKind.SCALAR),)


def renamed(predicted: DataFrame, source: str, columns: dict[str, Column]) -> DataFrame:
    """Return a prediction with these columns in place of the one that it was made as."""
    return predicted.withColumns(columns).drop(F.col(quoted(source)))
