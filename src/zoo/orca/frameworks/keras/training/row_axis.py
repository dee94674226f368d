"""The row axis of a Keras model's outputs, which a batch of one row may lose.

`squeeze` removes one more axis from one row's output than from several rows'. A last batch of one
row would then end training with a shape error, or be compared wrongly with its label. And Keras 2
turns outputs (rows,) into one number, which has one weight and counts as one row.
"""

from collections.abc import Callable, Sequence
from typing import Any

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.types import Tensor
from zoo.orca.wire.outputs import OutputSpec


def keep_row_axis(made: KerasModel, outputs: Sequence[OutputSpec]) -> None:
    """Give the outputs of a batch of one row the same axes as those of several rows.

    It applies before the outputs meet labels in loss and metrics, also if the model's own
    `train_step` calls these.

    Parameters
    ----------
    made : KerasModel
    outputs : sequence of OutputSpec
        The model's outputs for several rows.
    """
    model = made.model
    if made.keras.has_own_predict_step(model):  # so its outputs are unknown
        return

    def kept(y: Structure, y_pred: Structure) -> Structure:
        flat = made.keras.flatten(y_pred)
        if len(flat) != len(outputs):
            return y_pred
        found = [_kept(made, value, one) for value, one in zip(flat, outputs, strict=True)]
        if made.keras.AVERAGES_LONE_AXES and _are_columns(made, y):
            found = [_as_column(made, value) for value in found]
        if all(new is old for new, old in zip(found, flat, strict=True)):
            return y_pred
        return made.keras.packed(y_pred, found)

    for name in ("compute_loss", "compute_metrics"):
        # Bypasses Keras's tracking, which would save it.
        object.__setattr__(model, name, _with_axis(getattr(model, name), kept))


def _with_axis(
    original: Callable[..., Any], kept: Callable[[Structure, Structure], Structure]
) -> Callable[..., Any]:
    # Keras's arguments and defaults, passed by position or by name.
    def of_rows(
        x: Structure = None,
        y: Structure = None,
        y_pred: Structure = None,
        sample_weight: Structure = None,
        **more: object,
    ) -> Any:
        return original(x, y, kept(y, y_pred), sample_weight, **more)

    return of_rows


def _kept(made: KerasModel, value: Tensor, output: OutputSpec) -> Tensor:
    """Return one output with the row axis."""
    if output.problem or made.keras.layout_of(value) or not hasattr(value, "shape"):
        return value
    shape, of_row = made.keras.shape_of(value), output.row_shape
    if shape is None:  # TensorFlow does not know the number of rows
        known = [length for length in of_row if length is not None]
        return made.backend.reshaped(value, (-1, *known)) if len(known) == len(of_row) else value
    if len(shape) != len(of_row) or None in shape:
        return value
    if any(have != want for have, want in zip(shape, of_row, strict=True) if want is not None):
        return value
    return value[None]


def _are_columns(made: KerasModel, y: Structure) -> bool:
    """Whether there are labels, and each is one number per row, (rows, 1)."""
    labels = [label for label in made.keras.flatten(y) if hasattr(label, "shape")]
    shapes = [made.keras.shape_of(label) for label in labels]
    return bool(shapes) and all(s is not None and len(s) == 2 and s[1] == 1 for s in shapes)


def _as_column(made: KerasModel, value: Tensor) -> Tensor:
    """Return (rows,) as (rows, 1), and anything else unchanged."""
    shape = made.keras.shape_of(value) if hasattr(value, "shape") else None
    return value[:, None] if shape is not None and len(shape) == 1 else value
