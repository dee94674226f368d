"""The user's Keras objects, as far as Orca uses them.

This module names the members of a model, an optimizer and so on that this package uses. It includes
Keras's private members, which a new release of Keras may change. Only `versions/` and `backends/`
use members of one Keras version alone. Members that an object may lack are not named here; the code
reads them with `getattr`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from zoo.orca.frameworks.common.structures import Structure

#: A tensor of TensorFlow, JAX or torch, or a symbolic one of either Keras: they share no members.
Tensor: TypeAlias = Any
#: A step's or an epoch's results by name, as Keras passes them to callbacks.
StepLogs: TypeAlias = dict[str, Any] | None
#: A model's step of training or evaluation; its arguments depend on the backend.
StepFunction: TypeAlias = Callable[..., Any]


class Variable(Protocol):
    """A variable of either Keras."""

    name: str
    path: str
    shape: Any
    dtype: Any
    value: Any

    def numpy(self) -> NDArray[Any]:
        """Return the value, wherever it is stored."""

    def assign(self, value: object) -> Any:
        """Set another value."""


class WritesCheckpoints(Protocol):
    """`ModelCheckpoint` of either Keras."""

    filepath: str
    _save_model: Callable[..., None]


class Layer(Protocol):
    """A layer of either Keras."""

    name: str


class KerasMetric(Protocol):
    """A metric of either Keras."""

    name: str
    variables: list[Variable]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "KerasMetric":
        """Return a metric from a configuration."""

    def get_config(self) -> dict[str, Any]:
        """Return the metric's configuration."""

    def update_state(self, *args: object, **kwargs: object) -> Any:
        """Add a batch to the state."""

    def merge_state(self, metrics: Sequence["KerasMetric"]) -> Any:
        """Add other metrics' states; Keras 2 only."""


class KerasLoss(Protocol):
    """A loss object passed to `compile`, which may also get a name or a function."""

    reduction: str | None

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Return the loss of a batch."""


class Optimizer(Protocol):
    """An optimizer of either Keras, wrapped or not."""

    name: str
    variables: list[Variable]
    # Keras 3 only.
    built: bool
    _trainable_variables: list[Variable]
    # Keras 2 only: a legacy optimizer, and a wrapper that scales losses.
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
        """Set loss, optimizer and metrics."""

    def fit(self, data: object, **arguments: object) -> Any:
        """Train."""

    def evaluate(self, data: object, **arguments: object) -> Any:
        """Evaluate."""

    def predict_step(self, *arguments: object) -> Any:
        """Return the outputs for a batch."""

    def test_step(self, *arguments: object) -> Any:
        """Evaluate a batch."""

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the metrics' values."""

    def save(self, path: str) -> None:
        """Write the model into a file."""

    def save_weights(self, path: str) -> None:
        """Write the weights into a file."""

    def load_weights(self, path: str) -> None:
        """Read the weights from a file."""

    def _flatten_layers(self, include_self: bool = True) -> Sequence[Layer]: ...

    # Keras 3 only.
    compiled: bool
    metrics_variables: list[Variable]
    _compile_loss: Any
    _outputs_struct: Structure
    _make_function: Callable[[StepFunction], Any]
    jax_state_sync: Callable[[], None]

    def _symbolic_build(self, data_batch: Structure) -> None: ...

    # Keras 3 on torch only: the model is also a torch module.
    training: bool

    def eval(self) -> Any:
        """Switch to evaluation mode."""

    def train(self, mode: bool = True) -> Any:
        """Switch to training mode."""

    # Keras 2 only.
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
