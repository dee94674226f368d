"""The version module for Keras 2 (`tf_keras`), like `keras3` for Keras 3."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.configuration import keras_settings
from zoo.orca.frameworks.keras.types import (
    KerasLoss,
    KerasMetric,
    Layer,
    Model,
    Optimizer,
    Tensor,
    Variable,
)
from zoo.orca.frameworks.keras.versions import keras2_functions

#: The name in states and messages.
VERSION = "2"
#: Only `fit` and `evaluate` call it, once their steps are done.
RESULTS = "_validate_and_get_metrics_result"
#: Whether losses and metrics turn outputs (rows,) into one number, which counts as one row.
AVERAGES_LONE_AXES = True
#: Kinds of loss reduction that cannot be computed from the workers' parts.
UNDIVIDED_REDUCTIONS = ("none",)


def package() -> Any:
    """Return the module of this Keras."""
    import tf_keras

    return tf_keras


def begin() -> None:
    """Forget the leftovers of this process's earlier jobs."""
    keras = package()
    keras.backend.clear_session()
    keras.mixed_precision.set_global_policy(None)
    configured = keras_settings()
    keras.backend.set_floatx(configured["floatx"])
    keras.backend.set_epsilon(configured["epsilon"])
    keras.backend.set_image_data_format(configured["image_data_format"])
    keras.utils.enable_interactive_logging()
    # Layers that draw random numbers then keep the generator's state in a variable, which continues
    # in the next `fit`. Keras's default keeps it in TensorFlow's kernels.
    keras.backend.experimental.enable_tf_random_generator()


def make_random(seed: int) -> None:
    """Seed Python, numpy, TensorFlow and Keras."""
    package().utils.set_random_seed(seed)


def backend_name() -> str:
    """Return the name of its backend."""
    return "tensorflow"


def check_backend(framework: str, wanted: str | None) -> None:
    """Refuse the model if Keras 3 is wanted."""
    if framework != "tf2":
        raise ModelError(
            "the model is of Keras 2 (tf_keras), and zoo.orca.learn.keras trains Keras 3\n"
            "Make it with `import keras`, or use zoo.orca.learn.tf2"
        )


def flatten(structure: Structure) -> list[Any]:
    """Return the leaves of nested lists, tuples and dicts."""
    return list(tf.nest.flatten(structure))


def packed(structure: Structure, flat: list[Any]) -> Structure:
    """Return a structure with other values, in the order of `flatten`."""
    return tf.nest.pack_sequence_as(structure, flat)


def dtype_name(tensor: Tensor) -> str:
    """Return the name of the dtype of a tensor, symbolic or not, or a variable."""
    return str(tf.as_dtype(tensor.dtype).name)


def shape_of(tensor: Tensor) -> tuple[int | None, ...] | None:
    """Return the shape of a tensor, symbolic or not; None if even its axes are unknown."""
    return None if tensor.shape.rank is None else tuple(tensor.shape)


def layout_of(tensor: Tensor) -> str:
    """Return "ragged" or "sparse" for such a tensor, symbolic or not, else nothing."""
    kind = type(getattr(tensor, "type_spec", tensor)).__name__
    return "ragged" if kind.startswith("Ragged") else "sparse" if kind.startswith("Sparse") else ""


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """Return a tensor's value as an array."""
    return np.asarray(tensor)


def is_compiled(model: Model) -> bool:
    """Whether `fit` and `evaluate` may be called."""
    return bool(model._is_compiled)


def input_structure(model: Model) -> Structure:
    """Return the nested symbolic inputs of a functional model, None for any other."""
    return model._nested_inputs if model._is_graph_network else None


def output_structure(model: Model) -> Structure:
    """Return the nested symbolic outputs of a functional model."""
    return model._nested_outputs


def has_own_step(model: Model) -> bool:
    """Whether the model's class defines its own step."""
    base = package().Model
    names = ("train_step", "test_step", "compute_loss", "compute_metrics")
    return any(getattr(type(model), name) is not getattr(base, name) for name in names)


def output_layer(tensor: Tensor) -> Layer:
    """Return the layer that a symbolic output comes from."""
    layer: Layer = tensor.node.layer
    return layer


def has_own_predict_step(model: Model) -> bool:
    """Whether predictions may differ from the model's outputs."""
    return type(model).predict_step is not package().Model.predict_step


def input_name(tensor: Tensor) -> str:
    """Return the name by which a user knows a symbolic input."""
    return str(tensor.node.layer.name)


def name_of(variable: Variable) -> str:
    """Return a variable's name with its layer's name."""
    return str(variable.name).removesuffix(":0")


def random_states(model: Model) -> list[Variable]:
    """Return the variables of the layers' random generators."""
    found: dict[int, Any] = {}
    for layer in model._flatten_layers():
        for value in list(vars(layer).values()):
            # A built Keras layer has it inside a generator of Keras.
            generator = getattr(value, "_generator", value)
            if isinstance(generator, tf.random.Generator):
                found[id(generator.state)] = generator.state
    return list(found.values())


def scattered(state: NDArray[Any], shift: int) -> NDArray[Any]:
    """Return a random generator's state with another seed."""
    other = state.copy()
    # The last number is the generator's key. The others count its uses.
    other[-1] = (int(state[-1]) + shift) % (1 << 62)
    return other


def is_variable(value: object) -> bool:
    """Whether a member of a model's weights is a variable."""
    return isinstance(value, tf.Variable)


def is_optimizer(value: object) -> bool:
    """Whether `value` is an optimizer, new or legacy, wrapped or not."""
    keras = package()
    kinds = (
        keras.optimizers.Optimizer,
        keras.optimizers.legacy.Optimizer,
        keras.mixed_precision.LossScaleOptimizer,
    )
    return isinstance(value, kinds)


def _inner(optimizer: Optimizer) -> Any:
    """Return the optimizer inside a wrapper, or itself; its members depend on its kind."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def needs_every_row(optimizer: Optimizer) -> bool:
    """Whether the optimizer must get each row of sparse gradients, not their sums.

    Clipping reads each row, and comes first.
    """
    inner = _inner(optimizer)
    names = ("clipnorm", "clipvalue", "global_clipnorm")
    return any(getattr(inner, name, None) is not None for name in names)


def plain_adam(optimizer: Optimizer) -> Any:
    """Return the Adam, wrapped or not, that updates by the published rule; None: another.

    A subclass may update differently, and XLA would compile the update as a whole.
    """
    kinds = (package().optimizers.Adam, package().optimizers.AdamW)
    inner = _inner(optimizer)
    if type(inner) not in kinds or inner.jit_compile:
        return None
    return None if inner.amsgrad or getattr(inner, "adaptive_epsilon", False) else inner


def apply_name(optimizer: Optimizer) -> str:
    """Return the outermost method that every loop calls, where gradients are summed."""
    return "apply_gradients"


def sync(model: Model) -> None:
    """No-op: variables always have their values."""


def build_optimizer(optimizer: Optimizer, variables: Sequence[Variable]) -> None:
    """Create the optimizer's variables for these trainable variables."""
    if hasattr(optimizer, "_create_all_weights"):
        optimizer._create_all_weights(variables)
    elif hasattr(optimizer, "inner_optimizer"):
        optimizer.build(variables)
    else:
        # As in `apply_gradients`, so that the variables get the same names.
        with tf.name_scope(optimizer.name or "optimizer"):
            optimizer.build(variables)


def optimizer_variables(optimizer: Optimizer) -> list[Variable]:
    """Return the optimizer's variables; only its counters before it is built."""
    inner = _inner(optimizer)
    if isinstance(inner, package().optimizers.legacy.Optimizer):
        hyper = [v for _, v in sorted(inner._hyper.items()) if isinstance(v, tf.Variable)]
        found = [*inner.weights, *hyper]
    else:
        found = list(inner.variables)
    if inner is not optimizer and optimizer.dynamic:
        scale = optimizer._loss_scale
        found += [scale.current_loss_scale, scale.counter]
    return found


def hyperparameters(optimizer: Optimizer) -> dict[str, Variable]:
    """Return the hyperparameters outside the optimizer's variables, by name.

    These are the learning rate and all others in the optimizer's attributes.
    """
    inner = _inner(optimizer)
    known = {id(variable) for variable in optimizer_variables(optimizer)}
    return {
        name.lstrip("_"): value
        for name, value in vars(inner).items()
        if isinstance(value, tf.Variable) and id(value) not in known
    }


def rate_variable(optimizer: Optimizer) -> Variable | None:
    """Return the variable of the learning rate; None if it is a schedule."""
    inner = _inner(optimizer)
    if isinstance(inner, package().optimizers.legacy.Optimizer):
        rate = inner._hyper.get("learning_rate")
    else:
        rate = inner._learning_rate
    return rate if isinstance(rate, tf.Variable) else None


def optimized(optimizer: Optimizer, trainable: Sequence[Variable]) -> list[int] | None:
    """Return which of `trainable` the optimizer was built for; None if it is not built."""
    inner = _inner(optimizer)
    if isinstance(inner, package().optimizers.legacy.Optimizer):
        return list(range(len(trainable))) if inner._hypers_created else None
    index = getattr(inner, "_index_dict", None)
    if index is None:
        return None
    places = {inner._var_key(variable): place for place, variable in enumerate(trainable)}
    return [places[key] for key in sorted(index, key=index.__getitem__)]


def compiled_losses(model: Model) -> Structure:
    """Return the losses as passed to `compile`, or None."""
    return model.compiled_loss._user_losses if model.compiled_loss is not None else None


def loss_objects(model: Model) -> list[KerasLoss]:
    """Return the losses passed to `compile`, flat."""
    container = model.compiled_loss
    return tf.nest.flatten(container._user_losses) if container is not None else []


def unknown_metric(model: Model) -> str:
    """Return the name of an unknown metric, which Keras takes for a function."""
    given = model.compiled_metrics
    names = tf.nest.flatten(given._user_metrics) if given is not None else []
    get = package().metrics.get
    # Each of these stands for several metrics, chosen by the labels' shape.
    known = ("accuracy", "acc", "crossentropy", "ce")
    unknown = (one for one in names if isinstance(one, str) and one.lower() not in known)
    return next((one for one in unknown if isinstance(get(one), str)), "")


def give_label(model: Model, output: str) -> None:
    """No-op: a single label is every output's, and outputs without a loss ignore it."""


def is_rowwise(model: Model) -> bool:
    """Whether an evaluation's loss and metrics surely do not depend on how rows are batched.

    True if all parts are Keras's own, except those that count valid steps, not rows.
    """
    keras = package()
    if type(model).test_step is not keras.Model.test_step or model.compiled_loss is None:
        return False
    metrics = model.compiled_metrics
    given = [model.compiled_loss._user_losses]
    given += [metrics._user_metrics, metrics._user_weighted_metrics] if metrics else []
    if not all(_is_own(one) for one in tf.nest.flatten(given) if one is not None):
        return False
    kinds = (keras.layers.Lambda, keras.layers.Masking)
    return all(
        _is_own(layer) and not isinstance(layer, kinds) and not getattr(layer, "mask_zero", False)
        for layer in model._flatten_layers(include_self=False)
    )


def _is_own(part: object) -> bool:
    """Whether a loss, metric or layer, or the function that it wraps, is Keras's own."""
    function = getattr(part, "_fn", getattr(part, "fn", part))
    return all(
        isinstance(one, str)
        or (getattr(one, "__module__", None) or type(one).__module__).startswith("tf_keras.")
        for one in (part, function)
    )


def run_on_several(model: Model) -> None:
    """Prepare a model for several workers."""
    # XLA cannot call back into Python, where gradients are summed.
    if model._jit_compile:
        model._jit_compile = False


def loss_trackers(model: Model, batch: Structure, outputs: int) -> list[KerasMetric]:
    """Return metrics of losses that count batches instead of rows: none in Keras 2."""
    return []


def build_metrics(model: Model, batch: Structure) -> None:
    """Create the metrics before the first step would, if the model declares its outputs."""
    if is_compiled(model) and model._is_graph_network:
        keras2_functions.build_metrics(model, batch)


def limit_steps_per_execution(model: Model) -> None:
    """Run one step at a time."""
    model._configure_steps_per_execution(1)


def steps_variable(model: Model, *, begin: int) -> Variable | None:
    """Return the variable with the steps per call, set to `begin`; None: they stay fixed.

    They stay fixed if the user chose them or wrote a step, because not every step works in a loop
    of a graph.
    """
    base = package().Model
    own = any(
        getattr(type(model), name) is not getattr(base, name)
        for name in ("train_step", "test_step", "make_train_function", "make_test_function")
    )
    if own or model.run_eagerly or model.autotune_steps_per_execution:
        return None
    if int(model.steps_per_execution.numpy()) != 1:
        return None
    model._configure_steps_per_execution(begin)
    # With XLA, Keras compiles each step by itself. The functions return only the model's metrics.
    if not model.jit_compile and type(model).compute_metrics is base.compute_metrics:
        keras2_functions.compile_steps(model)
    steps: Variable = model._steps_per_execution
    return steps


def own_merge(metric: KerasMetric) -> bool:
    """Whether a metric defines its own merge of states."""
    return type(metric).merge_state is not package().metrics.Metric.merge_state


def clone_metric(metric: KerasMetric) -> KerasMetric:
    """Return a fresh metric of the same configuration."""
    clone = type(metric).from_config(metric.get_config())
    if len(clone.variables) != len(metric.variables):
        raise ModelError(
            f"the metric {metric.name!r} overrides merge_state, and a copy made from its "
            "get_config() has other variables: several workers cannot merge it\n"
            "Let get_config() return all that __init__ takes, or leave merge_state as it is"
        )
    return clone
