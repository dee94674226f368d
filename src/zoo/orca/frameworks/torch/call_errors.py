"""Explains in two lines why a model cannot be called with its columns."""

import inspect
from collections.abc import Mapping, Sequence

import torch

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.input_shapes import way_to_inputs
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.wire.features import ColumnSpec

#: What PyTorch and models raise for their arguments.
CALL_ERRORS = (TypeError, ValueError, RuntimeError, IndexError)


def call_error(
    model: torch.nn.Module,
    features: Structure,
    columns: Sequence[ColumnSpec],
    error: Exception,
    *,
    hooks: str | None = None,
) -> ModelError:
    """Return the error for a model that failed on two rows of some columns.

    `hooks` is the user's class that may call the model differently, if there is one.
    """
    names = [column.name for column in columns]
    if not _binds(model, features):
        takes = [name for name in inspect.signature(model.forward).parameters]
        kind = "columns" if len(names) > 1 else "column"
        by = f"by the keywords {list(features)}" if isinstance(features, Mapping) else "in order"
        return ModelError(
            f"the model's forward takes {takes}, and feature_cols gives it {len(names)} {kind} "
            f"{by}: {names}\n"
            + _way_to(columns, takes)
            + (f"; or let {hooks}.predict_batch call the model" if hooks else "")
        )
    shown = ", ".join(
        f"{column.name} {column.dtype} (batch{''.join(f', {n}' for n in column.shape)})"
        for column in columns
    )
    return ModelError(
        f"the model fails on two rows of its columns, {shown}: {first_line(error)}\n"
        "Whole numbers for layers of floats need F.col(name).cast('float'), ids must be below the "
        "size of their Embedding; the traceback has the layer"
    )


def _way_to(columns: Sequence[ColumnSpec], takes: Sequence[str]) -> str:
    if len(takes) == 1 and len(columns) > 1:
        return way_to_inputs(columns, 1)
    return (
        "Give feature_cols a column for each argument in its order, or a dict "
        "{'argument': 'column'}"
    )


def first_line(error: Exception) -> str:
    """Return an error's first line, because PyTorch's messages may fill a page."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _binds(model: torch.nn.Module, features: Structure) -> bool:
    """Whether the number of features fits the model's forward, if its signature tells."""
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):
        return True
    try:
        if isinstance(features, Mapping):
            signature.bind(**features)
        else:
            signature.bind(*features)
    except TypeError:
        return False
    return True
