"""The column for each of a model's outputs."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from zoo.orca.errors import InvalidInputError, ModelError
from zoo.orca.wire.features import quoted
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State

#: The column of all outputs.
WHOLE = "prediction"
#: Columns by position (one, or several), or the model's names for its outputs to columns.
OutputNames = str | Sequence[str] | Mapping[str, str]


def prediction_columns(outputs: Sequence[OutputSpec], names: OutputNames | None) -> list[str]:
    """Return the column of each output, in the order of the model's outputs.

    If `names` are exactly the outputs' names, they are matched by name. By default a single output
    is ``prediction``. Of several outputs, one that the user named is ``prediction_<name>``, any
    other ``prediction_<k>``; the name ``prediction`` alone leaves them so.

    Raises
    ------
    ModelError
        If an output cannot become a column.
    InvalidInputError
        If `names` do not fit the outputs.
    """
    for output in outputs:
        if output.problem:
            raise ModelError(output.problem)
    own = [output.name for output in outputs]
    if names is None or asks_for_whole(outputs, names):
        if len(outputs) == 1:
            return ["prediction"]
        return [f"prediction_{o.name if o.named else k}" for k, o in enumerate(outputs)]
    if isinstance(names, Mapping):
        if set(names) != set(own):
            raise InvalidInputError(
                f"output_cols names the outputs {sorted(names)}, and the model's are {sorted(own)}"
                f"\nPass output_cols={_completed(own, names)}"
            )
        return [names[name] for name in own]
    given = [names] if isinstance(names, str) else list(names)
    if len(given) != len(own):
        raise InvalidInputError(
            f"output_cols names {len(given)} {'column' if len(given) == 1 else 'columns'} "
            f"{given}, and the model has {len(own)} outputs\nName one column for each of {own}"
        )
    if set(given) == set(own):
        return own
    if len(own) > 1 and any(output.keyed for output in outputs):
        raise InvalidInputError(
            f"the model returns a dict of {own}, and output_cols={given} does not say which column "
            f"is which\nPass a dict, for example output_cols={_paired(own, given)}"
        )
    return given


def asks_for_whole(outputs: Sequence[OutputSpec], names: OutputNames | None) -> bool:
    """Whether `output_cols` names the one column of several outputs, as the original has it."""
    given = [names] if isinstance(names, str) else names
    return len(outputs) > 1 and given is not None and list(given) == [WHOLE]


def with_whole(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Add the column `WHOLE`: an array of each row's outputs, or a struct if their types differ."""
    found = [F.col(quoted(name)) for name in columns]
    alike = len({frame.schema[name].dataType.simpleString() for name in columns}) == 1
    return frame.withColumn(WHOLE, F.array(*found) if alike else F.struct(*found))


def _completed(outputs: Sequence[str], names: Mapping[str, str]) -> dict[str, str]:
    """Return each output with its own column if it has one, else with one that is left."""
    others = [output for output in outputs if output not in names]
    left = [column for name, column in names.items() if name not in outputs]
    found = _paired(others, left)
    return {output: names.get(output) or found[output] for output in outputs}


def _paired(outputs: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Return each output with the column of the most similar name, using each column once."""
    left, found = list(columns), {}
    for output in outputs:
        if left:
            close = difflib.get_close_matches(output, left, 1, 0.0)
            found[output] = close[0] if close else left[0]
            left.remove(found[output])
        else:
            found[output] = f"prediction_{output}"
    return found


def predicted_arrays(state: State, outputs: Sequence[OutputSpec]) -> Any:
    """Return predictions as numpy arrays: one, a dict by the model's keys, or a list."""
    arrays = list(state.tensors.values())
    if outputs and all(one.keyed for one in outputs):
        return {one.name: array for one, array in zip(outputs, arrays, strict=True)}
    return arrays[0] if len(arrays) == 1 else arrays
