"""Whether a Keras model's outputs are logits or probabilities: its losses, or last layers, say.

Nothing here looks at the magnitude of numbers, because another batch could decide differently.
"""

from collections.abc import Sequence

from zoo.orca.frameworks.keras.columns.names import by_output
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.wire.outputs import Scale

#: Keras's losses of classes, by name as Keras takes it: classes and functions, in small letters.
_OF_CLASSES = {
    "bce",
    "binarycrossentropy",
    "binaryfocalcrossentropy",
    "categoricalcrossentropy",
    "categoricalfocalcrossentropy",
    "sparsecategoricalcrossentropy",
}
#: What comes out of an activation, or of a layer that is one.
_ACTIVATIONS = {
    "sigmoid": Scale.PROBABILITIES,
    "softmax": Scale.PROBABILITIES,
    "log_softmax": Scale.LOGARITHMS,
}


def scales_of(made: KerasModel, names: Sequence[str]) -> list[Scale | None]:
    """Return the scale of each output.

    Parameters
    ----------
    made : KerasModel
    names : sequence of str
        The outputs' names.
    """
    if made.keras.has_own_predict_step(made.model):
        return [None] * len(names)  # what comes out is not what the loss sees
    losses = by_output(made.keras.compiled_losses(made.model), names)
    layers = _by_layer(made, len(names))
    return [_by_loss(loss) or layer for loss, layer in zip(losses, layers, strict=True)]


def _by_loss(loss: object) -> Scale | None:
    """Return what a loss of Keras's says; nothing for any other."""
    function = getattr(loss, "fn", loss)
    if isinstance(function, str):
        name = function
    else:
        module = getattr(function, "__module__", None) or ""
        is_kerass = module.startswith(("keras.", "tf_keras."))
        name = str(getattr(function, "__name__", type(function).__name__)) if is_kerass else ""
    if name.lower().replace("_", "") not in _OF_CLASSES:
        return None
    given = getattr(loss, "_fn_kwargs", {}).get("from_logits", False)
    return Scale.LOGITS if given else Scale.PROBABILITIES


def _by_layer(made: KerasModel, count: int) -> Sequence[Scale | None]:
    """Return what the activation of each output's layer says, where the model knows its layers."""
    if not made.is_static:
        return [None] * count
    tensors = made.keras.flatten(made.keras.output_structure(made.model))
    if len(tensors) != count:
        return [None] * count
    return [_of_layer(made.keras.output_layer(tensor)) for tensor in tensors]


def _of_layer(layer: object) -> Scale | None:
    activation = getattr(layer, "activation", None)
    name = type(layer).__name__ if activation is None else getattr(activation, "__name__", "")
    return _ACTIVATIONS.get(str(name).lower())
