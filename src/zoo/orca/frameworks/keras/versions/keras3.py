"""The version module for Keras 3 on any backend, like `keras2` for Keras 2."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.creators.seeds import seed_tensorflow
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

#: The name in states and messages.
VERSION = "3"
#: Only `fit` and `evaluate` call it, once their steps are done.
RESULTS = "_get_metrics_result_or_logs"
#: Whether losses and metrics turn outputs (rows,) into one number: Keras 3 uses labels first.
AVERAGES_LONE_AXES = False
#: Kinds of loss reduction that cannot be computed from the workers' parts.
UNDIVIDED_REDUCTIONS = ("none", None)


def package() -> Any:
    """Return the module of this Keras."""
    import keras

    return keras


def begin() -> None:
    """Forget the leftovers of this process's earlier jobs."""
    keras = package()
    keras.utils.clear_session()
    keras.distribution.set_distribution(None)
    configured = keras_settings()
    keras.config.set_floatx(configured["floatx"])
    keras.config.set_epsilon(configured["epsilon"])
    keras.config.set_image_data_format(configured["image_data_format"])
    keras.config.set_dtype_policy(configured["floatx"])
    for limit in ("MAX_EPOCHS", "MAX_STEPS_PER_EPOCH"):
        put = getattr(keras.config, f"set_{limit.lower()}", None)
        if put is not None:  # a Keras version without this limit
            given = os.environ.get(f"KERAS_{limit}")
            put(int(given) if given else None)


def make_random(seed: int) -> None:
    """Seed Python, numpy and Keras; TensorFlow, too, at its import if that is yet to come."""
    with _tensorflow_not_imported():
        package().utils.set_random_seed(seed)
    seed_tensorflow(seed)


@contextlib.contextmanager
def _tensorflow_not_imported() -> Iterator[None]:
    """Keep Keras from importing TensorFlow only to seed it, which it does on any backend."""
    if sys.modules.get("tensorflow") is not None:
        yield
        return
    try:
        module: Any = importlib.import_module("keras.src.utils.rng_utils")
        given = module.tf
    except (ImportError, AttributeError):  # a Keras with other insides imports it
        yield
        return
    module.tf = SimpleNamespace(available=False)
    try:
        yield
    finally:
        module.tf = given


def backend_name() -> str:
    """Return the name of this process's backend."""
    return str(package().backend.backend())


def flatten(structure: Structure) -> list[Any]:
    """Return the leaves of nested lists, tuples and dicts."""
    return list(package().tree.flatten(structure))


def packed(structure: Structure, flat: list[Any]) -> Structure:
    """Return a structure with other values, in the order of `flatten`."""
    return package().tree.pack_sequence_as(structure, flat)


def dtype_name(tensor: Tensor) -> str:
    """Return the name of the dtype of a tensor, symbolic or not, or a variable."""
    return str(package().backend.standardize_dtype(tensor.dtype))


def shape_of(tensor: Tensor) -> tuple[int | None, ...] | None:
    """Return the shape of a tensor, symbolic or not; None if even its axes are unknown."""
    shape = tensor.shape
    return None if shape is None or getattr(shape, "rank", 0) is None else tuple(shape)


def layout_of(tensor: Tensor) -> str:
    """Return "ragged" or "sparse" for such a tensor, symbolic or not, else nothing."""
    kind = type(tensor).__name__
    if getattr(tensor, "ragged", False) is True or kind.startswith("Ragged"):
        return "ragged"
    return "sparse" if getattr(tensor, "sparse", False) is True or kind == "SparseTensor" else ""


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """Return a tensor's value as an array."""
    found: NDArray[Any] = package().ops.convert_to_numpy(tensor)
    return found


def check_backend(framework: str, wanted: str | None) -> None:
    """Refuse a backend other than the job's, or one that distributes the model itself."""
    backend = package().backend.backend()
    if package().distribution.distribution() is not None:
        raise ModelError(
            "keras.distribution is set, and would spread batches and gradients itself\nCall "
            "keras.distribution.set_distribution(None) in model_creator; Orca's workers are the "
            "only distribution there may be"
        )
    torch = sys.modules.get("torch")
    if (
        torch is not None
        and torch.distributed.is_available()
        and torch.distributed.is_initialized()
    ):
        raise ModelError(
            "torch.distributed has a process group, and a Keras that finds one may sum gradients "
            "and metrics over it, which Orca's workers do already\nLeave init_process_group out of "
            "model_creator"
        )
    if framework == "tf2" and backend != "tensorflow":
        raise ModelError(
            f"the model is of Keras 3 on the backend {backend!r}, and zoo.orca.learn.tf2 needs "
            "TensorFlow\nSet the environment variable KERAS_BACKEND=tensorflow on the workers, or "
            "use zoo.orca.learn.keras"
        )
    if wanted and backend != wanted:
        raise ModelError(
            f"the model is of the backend {backend!r}, and this estimator's is {wanted!r}\nPass "
            f"keras_backend={backend!r} to from_keras"
        )


def is_compiled(model: Model) -> bool:
    """Whether `fit` and `evaluate` may be called."""
    return bool(model.compiled)


def input_structure(model: Model) -> Structure:
    """Return the nested symbolic inputs of a functional model, None for any other."""
    functional = getattr(model, "_functional", None) or model
    return getattr(functional, "_inputs_struct", None)


def output_structure(model: Model) -> Structure:
    """Return the nested symbolic outputs of a functional model."""
    return (getattr(model, "_functional", None) or model)._outputs_struct


def has_own_step(model: Model) -> bool:
    """Whether the model's class defines its own step."""
    base = package().Model
    names = ("train_step", "test_step", "compute_loss", "compute_metrics")
    return any(getattr(type(model), name) is not getattr(base, name) for name in names)


def output_layer(tensor: Tensor) -> Layer:
    """Return the layer that a symbolic output comes from."""
    layer: Layer = tensor._keras_history.operation
    return layer


def has_own_predict_step(model: Model) -> bool:
    """Whether predictions may differ from the model's outputs."""
    return type(model).predict_step is not package().Model.predict_step


def input_name(tensor: Tensor) -> str:
    """Return the name by which a user knows a symbolic input."""
    return str(tensor.name)


def name_of(variable: Variable) -> str:
    """Return a variable's name with its layer's name."""
    return str(variable.path)


def random_states(model: Model) -> list[Variable]:
    """Return the variables of the layers' random generators."""
    weights = {id(variable) for variable in model.weights}
    metrics = {id(variable) for variable in model.metrics_variables}
    known = weights | metrics
    return [v for v in model.non_trainable_variables if id(v) not in known]


def scattered(state: NDArray[Any], shift: int) -> NDArray[Any]:
    """Return a random generator's state with another seed."""
    other = state.copy()
    if state.dtype.kind in "iu":
        # The first number is the seed, and the second counts its uses.
        other.flat[0] = (int(state.flat[0]) + shift) % (1 << 31)
    return other


def is_variable(value: object) -> bool:
    """Whether a member of a model's weights is a variable."""
    return isinstance(value, package().Variable)


def is_optimizer(value: object) -> bool:
    """Whether `value` is an optimizer, wrapped or not."""
    return isinstance(value, package().optimizers.Optimizer)


def needs_every_row(optimizer: Optimizer) -> bool:
    """Whether the optimizer must get each row of sparse gradients, not their sums.

    Keras 3 does not sum them itself: Adam, for example, squares each of them.
    """
    return True


def plain_adam(optimizer: Optimizer) -> Any:
    """Return None: Keras 3 updates with its own operations."""
    return None


def apply_name(optimizer: Optimizer) -> str:
    """Return the outermost method that every loop calls, where gradients are summed."""
    keras = package()
    wrapped = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    # On JAX the wrapper first checks for infinities, then calls the inner optimizer's method.
    return "stateless_apply" if wrapped and keras.backend.backend() == "jax" else "apply"


def sync(model: Model) -> None:
    """Write the values to variables, which JAX's loop keeps elsewhere while it runs."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def build_optimizer(optimizer: Optimizer, variables: Sequence[Variable]) -> None:
    """Create the optimizer's variables for these trainable variables."""
    if not optimizer.built:
        optimizer.build(list(variables))


def optimizer_variables(optimizer: Optimizer) -> list[Variable]:
    """Return the optimizer's variables; only its counters before it is built."""
    return list(optimizer.variables)


def hyperparameters(optimizer: Optimizer) -> dict[str, Variable]:
    """Return nothing: in Keras 3 the optimizer's variables include all of them."""
    return {}


def rate_variable(optimizer: Optimizer) -> Variable | None:
    """Return the variable of the learning rate; None if it is a schedule."""
    inner: Any = getattr(optimizer, "inner_optimizer", optimizer)
    rate = inner._learning_rate
    return rate if isinstance(rate, package().Variable) else None


def optimized(optimizer: Optimizer, trainable: Sequence[Variable]) -> list[int] | None:
    """Return which of `trainable` the optimizer was built for; None if it is not built."""
    if not optimizer.built:
        return None
    places = {id(variable): place for place, variable in enumerate(trainable)}
    return [places[id(variable)] for variable in optimizer._trainable_variables]


def compiled_losses(model: Model) -> Structure:
    """Return the losses as passed to `compile`, or None."""
    return model._compile_loss._user_loss if model._compile_loss is not None else None


def loss_objects(model: Model) -> list[KerasLoss]:
    """Return the losses passed to `compile`, flat."""
    container = model._compile_loss
    return package().tree.flatten(container._user_loss) if container is not None else []


def unknown_metric(model: Model) -> str:
    """Return nothing: Keras 3 itself raises for an unknown name."""
    return ""


def give_label(model: Model, output: str) -> None:
    """Tell a model's loss that a single label belongs to this output, the only one with a loss.

    Keras would split the label by rows over the outputs, if the two numbers are equal.
    """
    loss = model._compile_loss
    original = loss.call

    def call(y_true: Structure, y_pred: Structure, sample_weight: Structure = None) -> Tensor:
        nested = package().tree.is_nested(y_true)
        return original(y_true if nested else {output: y_true}, y_pred, sample_weight)

    object.__setattr__(loss, "call", call)


def run_on_several(model: Model) -> None:
    """Prepare a model for several workers."""
    # On TensorFlow, XLA cannot call back into Python, where gradients are summed. On torch, the
    # call would break the compiled graph. On JAX, the step is cut at the sum and stays compiled.
    if package().backend.backend() != "jax":
        model.jit_compile = False


def loss_trackers(model: Model, batch: Structure, outputs: int) -> list[KerasMetric]:
    """Return metrics of losses that count batches instead of rows, built with `batch`.

    With several outputs, Keras 3 averages each output's loss over batches, whatever their sizes,
    unless the batch size is fixed.
    """
    container = model._compile_loss
    if container is None:
        return []
    if not container.built and outputs > 1:
        model._symbolic_build(data_batch=batch)
    return list(container.metrics)


def build_metrics(model: Model, batch: Structure) -> None:
    """No-op: Keras 3 does so itself."""


def limit_steps_per_execution(model: Model) -> None:
    """Run one step at a time."""
    model.steps_per_execution = 1


def own_merge(metric: KerasMetric) -> bool:
    """Whether a metric defines its own merge of states: Keras 3 has no such method."""
    return False


def clone_metric(metric: KerasMetric) -> KerasMetric:
    """Return a fresh metric of the same configuration."""
    return type(metric).from_config(metric.get_config())


def steps_variable(model: Model, *, begin: int) -> Variable | None:
    """Return None: in Keras 3 the steps per call are a constant."""
    return None


def is_rowwise(model: Model) -> bool:
    """Return False: for Keras 3 it is unknown."""
    return False
