"""A Keras model's outputs: from its symbolic outputs, or else from a call."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.columns.inputs import InputLayout
from zoo.orca.frameworks.keras.loaders.layout import LoaderLayout
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.scales import scales_of
from zoo.orca.frameworks.keras.types import Layer, Tensor
from zoo.orca.wire.outputs import PROBES, OutputSpec, Shape, output_spec

Arrays = Mapping[str, NDArray[Any]]
AnyLayout = InputLayout | LoaderLayout


def outputs_of(made: KerasModel, layout: AnyLayout, features: Arrays) -> tuple[OutputSpec, ...]:
    """Return the outputs of a model; build a model that is built by its first batch.

    Parameters
    ----------
    made : KerasModel
    layout : InputLayout
    features : dict of str to array
        Some rows of the inputs, at least one, as from `InputLayout.feature_arrays`.

    Raises
    ------
    ModelError
        If an output is ragged or sparse. The message names it.
    """
    found = _outputs_of(made, layout, features)
    scales = scales_of(made, [one.name for one in found])
    return tuple(replace(one, scale=scale) for one, scale in zip(found, scales, strict=True))


def _outputs_of(made: KerasModel, layout: AnyLayout, features: Arrays) -> tuple[OutputSpec, ...]:
    is_own = made.keras.has_own_predict_step(made.model)
    known = []
    if not made.is_static:
        answer = made.build(layout, _sized(features, PROBES[0]))
        # A model that is not symbolic runs whole, so each call counts.
        known = [] if is_own else [answer]
    elif not is_own:
        symbolic = _symbolic(made)
        if symbolic is not None:
            return symbolic
    return _called(made, layout, features, known)


def _symbolic(made: KerasModel) -> tuple[OutputSpec, ...] | None:
    """Return what a functional model declares; None if it does not know a shape."""
    structure = made.keras.output_structure(made.model)
    tensors = made.keras.flatten(structure)
    shapes = [made.keras.shape_of(tensor) for tensor in tensors]
    if None in shapes:
        return None
    keys = made.keys_of(structure)
    layers = [made.keras.output_layer(tensor) for tensor in tensors]
    names = keys or [str(layer.name) for layer in layers]
    are_unique = len(set(names)) == len(names)
    return tuple(
        _spec(
            made,
            name if are_unique else f"output_{place}",
            tensor,
            {None: shape or ()},
            named=bool(keys) or (are_unique and _is_named(layer)),
            keyed=bool(keys),
        )
        for place, (name, tensor, shape, layer) in enumerate(
            zip(names, tensors, shapes, layers, strict=True)
        )
    )


def _called(
    made: KerasModel, layout: AnyLayout, features: Arrays, known: Sequence[Structure]
) -> tuple[OutputSpec, ...]:
    """Return the outputs for two different row counts, of which the first may be known."""
    more = [
        made.backend.predicted(made.model, _packed(made, layout, features, rows))
        for rows in PROBES[len(known) :]
    ]
    answers = [*known, *more]
    flat = [made.keras.flatten(answer) for answer in answers]
    keys = made.keys_of(answers[0])
    return tuple(
        _spec(
            made,
            keys[place] if keys else f"output_{place}",
            tensors[0],
            {
                rows: made.keras.shape_of(one) or ()
                for rows, one in zip(PROBES, tensors, strict=True)
            },
            named=bool(keys),
            keyed=bool(keys),
        )
        for place, tensors in enumerate(zip(*flat, strict=True))
    )


def _spec(
    made: KerasModel,
    name: str,
    tensor: Tensor,
    shapes: Mapping[int | None, Shape],
    *,
    named: bool,
    keyed: bool,
) -> OutputSpec:
    kind = made.keras.layout_of(tensor)
    if kind:
        way = "x.to_tensor()" if kind == "ragged" else "tf.sparse.to_dense(x)"
        raise ModelError(
            f"the model's output {name!r} is a {kind} tensor, which has no array for each row\n"
            f"Make it dense at the model's end: {way}"
        )
    dtype = made.keras.dtype_name(tensor)
    return output_spec(name, dtype, shapes, named=named, keyed=keyed)


def _is_named(layer: Layer) -> bool:
    """Whether a layer's name is the user's: Keras builds names from classes and numbers."""
    kind = re.sub(r"\W+", "", type(layer).__name__)
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()
    stem = re.sub(r"(_\d+)+$", "", str(layer.name))
    return stem not in (snake, snake.replace("_", "")) and not stem.startswith("tf.")


def _packed(made: KerasModel, layout: AnyLayout, features: Arrays, rows: int) -> Structure:
    """Return the given number of rows in the structure of the model's call."""
    sized = _sized(features, rows)
    return layout.pack_features({n: made.backend.tensor(a) for n, a in sized.items()})


def _sized(features: Arrays, rows: int) -> dict[str, NDArray[Any]]:
    return {name: np.resize(values, (rows, *values.shape[1:])) for name, values in features.items()}
