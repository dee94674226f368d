"""Matches columns to inputs and labels: by name if the model has names, else by position.

Keras sorts the names of a dict, so a dict has no order that a list of columns could follow. The
user must give what the column names do not say.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.wire.features import ColumnSpec, FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names of a model's inputs, or of its outputs, in the model's own order.

    Parameters
    ----------
    names : tuple of str
    keyed : bool
        Whether the names are keys of a dict, not names of tensors in a list.
    only : str or None
        The only one of several outputs with a loss, if Keras must be told.
    """

    names: tuple[str, ...]
    keyed: bool
    only: str | None = None


def matched(argument: str, columns: Sequence[str], of: Names, kind: str) -> list[int]:
    """Match a list of columns to the same number of names; return the column for each name.

    Parameters
    ----------
    argument : str
        "feature_cols" or "label_cols".
    columns : sequence of str
    of : Names
    kind : str
        "input" or "output".

    Raises
    ------
    ModelError
        With the dict to write, if the names are a dict's and the columns have other names.
    """
    if len(columns) > 1 and sorted(columns) == sorted(of.names):
        return [columns.index(name) for name in of.names]
    if of.keyed and len(columns) > 1:
        pairs = similar(columns, of.names)
        raise ModelError(
            f"{argument} is the list {list(columns)}, and the model's {kind}s are a dict of "
            f"{list(of.names)}, which has no order\n"
            f"Say which column is which {kind}: {argument}={pairs} (an example: check each pair)"
        )
    return list(range(len(columns)))


def one_label(spec: FeatureSpec, outputs: int) -> None:
    """Refuse names, or several labels, for a model with one unnamed output.

    Raises
    ------
    ModelError
        With the list to write.
    """
    columns = [column.name for column in spec.labels]
    if outputs != 1 or not (spec.label_keys or len(columns) > 1):
        return
    given = f"names the outputs {list(spec.label_keys)}" if spec.label_keys else f"has {columns}"
    raise ModelError(
        f"label_cols {given}, and the model has one output without a name\n"
        f"Name one column, label_cols={columns[:1]}; several numbers for one output are a list "
        f"inside the list: label_cols=[['y1', 'y2']]"
    )


def labels_by_name(
    spec: FeatureSpec, outputs: Names | None
) -> tuple[tuple[ColumnSpec, ...], tuple[str, ...] | None]:
    """Return the label columns, and the output names under which Keras gets them, if any.

    Raises
    ------
    ModelError
        If labels name outputs that the model does not have, or their outputs cannot be determined.
    """
    if outputs is None or not spec.labels:
        return spec.labels, spec.label_keys
    if spec.label_keys is not None:
        unknown = sorted(set(spec.label_keys).difference(outputs.names))
        if unknown:
            raise ModelError(
                f"label_cols names the outputs {unknown}, and the model's outputs are "
                f"{list(outputs.names)}\n"
                "Name these in the dict, or give the columns as a list, in order"
            )
        return spec.labels, spec.label_keys
    if len(spec.labels) > len(outputs.names):
        columns = [one.name for one in spec.labels]
        raise ModelError(
            f"label_cols has {len(columns)} columns {columns}, and the model has "
            f"{len(outputs.names)} {'output' if len(outputs.names) == 1 else 'outputs'} "
            f"{list(outputs.names)}\n"
            "Name one column for each output; several numbers for one output are a list inside the "
            "list: label_cols=[['y1', 'y2']]"
        )
    if len(spec.labels) != len(outputs.names) or len(spec.labels) == 1:
        return spec.labels, None
    order = matched("label_cols", [one.name for one in spec.labels], outputs, "output")
    return tuple(spec.labels[place] for place in order), outputs.names if outputs.keyed else None


def weights_by_name(spec: FeatureSpec, outputs: Names | None) -> str | dict[str, str | None] | None:
    """Return the column of row weights, or one for each output; None: all rows weigh 1.

    Raises
    ------
    ModelError
        If weights name outputs that the model does not have.
    """
    if spec.weight is not None or not spec.output_weights:
        return spec.weight.name if spec.weight is not None else None
    given = {output: column.name for output, column in spec.output_weights}
    if outputs is None:
        return dict(given)
    unknown = sorted(set(given).difference(outputs.names))
    if unknown:
        raise ModelError(
            f"sample_weight_col names the outputs {unknown}, and the model's outputs are "
            f"{list(outputs.names)}\nName those: sample_weight_col="
            f"{dict(zip(outputs.names, given.values(), strict=False))}"
        )
    if len(outputs.names) == 1:
        return given[outputs.names[0]]
    return {name: given.get(name) for name in outputs.names}


def by_output(structure: Structure, names: Sequence[str]) -> list[Any]:
    """Split an argument of `Model.compile` by output; None if there is none."""
    if isinstance(structure, Mapping):
        return [structure.get(name) for name in names]
    if isinstance(structure, (list, tuple)):
        return [*structure] if len(structure) == len(names) else [None] * len(names)
    return [structure] * len(names)


def similar(columns: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return each name with its most similar column, the most similar pair first."""
    ratios = {
        (name, column): difflib.SequenceMatcher(None, name.lower(), column.lower()).ratio()
        for name in names
        for column in columns
    }
    pairs: dict[str, str] = {}
    for name, column in sorted(ratios, key=lambda pair: -ratios[pair]):
        if name not in pairs and column not in pairs.values():
            pairs[name] = column
    return {name: pairs[name] for name in names if name in pairs}
