"""Reads from Keras's files the optimizer data that `Model.load_weights` skips.

The files are read as data: JSON and arrays. Nothing in them is executed.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.saving.checked import config_of
from zoo.orca.wire.saved.values import as_object, rate


def read_rate(made: KerasModel, path: str) -> None:
    """Set the optimizer's learning rate from a .keras or .h5 file of a whole model.

    If the rate is a schedule, in the file or in the model, the model's rate stays.
    """
    variable = made.keras.rate_variable(made.model.optimizer)
    settings = config_of(path).get("config", {})
    as_object(settings)
    while isinstance(inner := settings.get("inner_optimizer"), dict):  # of a LossScaleOptimizer
        settings = inner.get("config", {})
        as_object(settings)
    found = settings.get("learning_rate")
    if variable is not None and isinstance(found, (int, float)):
        rate(found)
        variable.assign(found)


def read_h5_optimizer(made: KerasModel, path: str) -> None:
    """Set the optimizer's variables from an .h5 file of a whole model.

    One warning says if they belong to another optimizer.
    """
    saved = _h5_variables(path)
    variables = made.keras.optimizer_variables(made.model.optimizer)[: len(saved)]
    if [tuple(one.shape) for one in variables] != [value.shape for value in saved]:
        warnings.warn(
            f"the optimizer of {path.rpartition('/')[2]} does not fit the model's: the weights are "
            "read, and the optimizer begins anew",
            stacklevel=2,
        )
        return
    for variable, value in zip(variables, saved, strict=True):
        variable.assign(value)


def _h5_variables(path: str) -> list[NDArray[Any]]:
    """Return the optimizer's variables in order."""
    import h5py

    with h5py.File(path, "r") as file:
        group = file.get("optimizer_weights")
        if group is None:
            return []
        # Too many names for one attribute are split over several: weight_names0 and so on.
        lists = sorted(name for name in group.attrs if name.startswith("weight_names"))
        names = [name for part in sorted(lists, key=len) for name in group.attrs[part]]
        return [np.asarray(group[name]) for name in names]
