"""The user's Keras objects, as far as Orca uses them.

What this package touches of a model, an optimizer and so on is named here, Keras's private members
among them: those a new release of Keras may change. Members of one Keras alone are touched in
`versions/` and `backends/` only. Those that an object may lack are not named: they are asked for
with `getattr`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from zoo.orca.frameworks.common.structures import Structure

#: A tensor of TensorFlow, JAX or torch, or a symbolic one of either Keras: they share no members.
Tensor: TypeAlias = Any
#: What a step or an epoch has come to, by name, as Keras hands it to callbacks.
StepLogs: TypeAlias = dict[str, Any] | None
#: A step of training or evaluation, as a model has it; its arguments are the backend's.
StepFunction: TypeAlias = Callable[..., Any]


class Variable(Protocol):
    """A variable of either Keras."""

    name: str
    path: str
    shape: Any
    dtype: Any
    value: Any

    def numpy(self) -> NDArray[Any]:
        """Return the value, wherever it is kept."""

    def assign(self, value: object) -> Any:
        """Take another value."""


class Layer(Protocol):
    """A layer of either Keras."""

    name: str


class KerasMetric(Protocol):
    """A metric of either Keras."""

    name: str
    variables: list[Variable]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "KerasMetric":
        """Return a metric of a configuration."""

    def get_config(self) -> dict[str, Any]:
        """Return the metric's configuration."""

    def update_state(self, *args: object, **kwargs: object) -> Any:
        """Take a batch into account."""

    def merge_state(self, metrics: Sequence["KerasMetric"]) -> Any:
        """Take other metrics' rows into account; of Keras 2 alone."""


class KerasLoss(Protocol):
    """A loss that `compile` was given as an object; it may also be a name or a function."""

    reduction: str | None

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Return the loss of a batch."""


class Optimizer(Protocol):
    """An optimizer of either Keras, wrapped or not."""

    name: str
    variables: list[Variable]
    # Of Keras 3 alone.
    built: bool
    _trainable_variables: list[Variable]
    # Of Keras 2 alone: an optimizer of the legacy kind, and a wrapper that scales losses.
    _create_all_weights: Callable[[Sequence[Variable]], None]
    dynamic: bool
    _loss_scale: Any

    def build(self, variables: Sequence[Variable]) -> Any:
        """Create the optimizer's variables."""


class Model(Protocol):
    """A model of either Keras."""

    optimizer: Optimizer
    metrics: list[KerasMetric]
    weights: list[Variable]
    trainable_variables: list[Variable]
    non_trainable_variables: list[Variable]
    run_eagerly: bool
    jit_compile: Any
    stop_training: bool
    steps_per_execution: Any
    train_step: StepFunction
    train_function: Any

    def __call__(self, inputs: Structure) -> Structure:
        """Return the outputs for a batch."""

    def compile(self, **arguments: object) -> None:
        """Take loss, optimizer and metrics."""

    def fit(self, data: object, **arguments: object) -> Any:
        """Train."""

    def evaluate(self, data: object, **arguments: object) -> Any:
        """Evaluate."""

    def predict_step(self, *arguments: object) -> Any:
        """Return what comes out for a batch."""

    def test_step(self, *arguments: object) -> Any:
        """Evaluate a batch."""

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the metrics' values."""

    def save(self, path: str) -> None:
        """Write the model into a file."""

    def save_weights(self, path: str) -> None:
        """Write the weights into a file."""

    def load_weights(self, path: str) -> None:
        """Read the weights of a file."""

    def _flatten_layers(self, include_self: bool = True) -> Sequence[Layer]: ...

    # Of Keras 3 alone.
    compiled: bool
    metrics_variables: list[Variable]
    _compile_loss: Any
    _outputs_struct: Structure
    _make_function: Callable[[StepFunction], Any]
    jax_state_sync: Callable[[], None]

    def _symbolic_build(self, data_batch: Structure) -> None: ...

    # Of Keras 3 on torch alone: the model is one of torch's modules, too.
    training: bool

    def eval(self) -> Any:
        """Behave as in evaluation."""

    def train(self, mode: bool = True) -> Any:
        """Behave as in training."""

    # Of Keras 2 alone.
    compiled_loss: Any
    compiled_metrics: Any
    autotune_steps_per_execution: bool
    distribute_strategy: Any
    train_tf_function: Any
    test_function: Any
    compute_metrics: Callable[..., Any]
    _is_compiled: bool
    _is_graph_network: bool
    _jit_compile: Any
    _nested_inputs: Structure
    _nested_outputs: Structure
    _steps_per_execution: Any
    _train_counter: Any
    _test_counter: Any
    _configure_steps_per_execution: Callable[[int], None]


class KerasCallback(Protocol):
    """A callback of either Keras."""

    model: Model
    params: Mapping[str, Any]
