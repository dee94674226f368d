"""The interfaces inside this package: versions, backends and feeds.

A `Version` and a `Backend` are modules. mypy checks their completeness where one is chosen.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.types import (
    KerasCallback,
    KerasLoss,
    KerasMetric,
    Layer,
    Model,
    Optimizer,
    StepFunction,
    Tensor,
    Variable,
)
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created
from zoo.orca.worker.rows.steps import Arrays
from zoo.orca.worker.timings import Stopwatch

if TYPE_CHECKING:
    from zoo.orca.frameworks.creators.stream import Stream
    from zoo.orca.frameworks.keras.loaders.layout import KerasParts
    from zoo.orca.frameworks.keras.models import KerasModel
    from zoo.orca.frameworks.keras.outputs import AnyLayout
    from zoo.orca.frameworks.keras.training.clock import KerasClock
    from zoo.orca.frameworks.keras.training.steps import Step


class Feed(Protocol):
    """Batches of one rank's rows, in the plan's order.

    Attributes
    ----------
    seconds : float
        Time spent so far on waiting for rows, if Python waits for them.
    """

    seconds: float

    def sample(self, rows: int = 2) -> Structure:
        """Return a small batch of the given number of rows."""

    def steps(self, start: Callable[[], int], count: int) -> Any:
        """Return `count` steps for Keras's loop; `start` is called whenever they begin."""


class FeedOfLoader(Feed, Protocol):
    """Batches of a user's loader.

    Attributes
    ----------
    stream : Stream
    over_passes : bool
        Whether steps go on with the next pass where one ends.
    problem : Exception or None
        What went wrong in Python that the backend called.
    """

    stream: "Stream"
    over_passes: bool
    problem: Exception | None

    def inputs(self) -> Structure:
        """Return the inputs of a first batch, as arrays; called on all ranks."""

    def close(self) -> None:
        """End the loader's processes."""


class OutputsOfRows(Protocol):
    """Computes a model's outputs for rows."""

    @property
    def rows_at_once(self) -> int:
        """How many rows suit the model."""

    @property
    def is_pure(self) -> bool:
        """Whether it is certain that a call changes nothing but what it returns."""

    def __call__(self, arrays: dict[str, NDArray[Any]]) -> list[NDArray[np.generic]]:
        """Return the outputs."""


#: From gradients and variables to all ranks' gradients.
Meet = Callable[[list[Tensor], list[Variable]], list[Tensor]]


class Version(Protocol):
    """What differs between Keras 2 and Keras 3; each module has the same members."""

    @property
    def VERSION(self) -> str:
        """Its name in states and messages."""

    @property
    def AVERAGES_LONE_AXES(self) -> bool:
        """Whether outputs of shape (rows,) become one number before they are weighted."""

    @property
    def RESULTS(self) -> str:
        """The model's method from a step's logs to a call's."""

    @property
    def UNDIVIDED_REDUCTIONS(self) -> tuple[str | None, ...]:
        """Kinds of loss reduction that cannot be computed from the workers' parts."""

    # The package and its process.
    def package(self) -> Any:
        """Return the module of this Keras."""

    def begin(self) -> None:
        """Forget the leftovers of this process's earlier jobs."""

    def make_random(self, seed: int) -> None:
        """Seed Python, numpy, TensorFlow and Keras."""

    def backend_name(self) -> str:
        """Return the name of this process's backend."""

    def check_backend(self, framework: str, wanted: str | None) -> None:
        """Refuse a model whose backend or Keras version is not the job's."""

    # Tensors, variables and structures of them.
    def flatten(self, structure: Structure) -> list[Any]:
        """Return the leaves of nested lists, tuples and dicts."""

    def packed(self, structure: Structure, flat: list[Any]) -> Structure:
        """Return a structure with other values, in the order of `flatten`."""

    def dtype_name(self, tensor: Tensor) -> str:
        """Return the name of the dtype of a tensor, symbolic or not, or a variable."""

    def shape_of(self, tensor: Tensor) -> tuple[int | None, ...] | None:
        """Return the shape of a tensor, symbolic or not; None if even its axes are unknown."""

    def layout_of(self, tensor: Tensor) -> str:
        """Return "ragged" or "sparse" for such a tensor, symbolic or not, else nothing."""

    def to_numpy(self, tensor: Tensor) -> NDArray[Any]:
        """Return a tensor's value as an array."""

    def input_name(self, tensor: Tensor) -> str:
        """Return the name by which a user knows a symbolic input."""

    def output_layer(self, tensor: Tensor) -> Layer:
        """Return the layer that a symbolic output comes from."""

    def name_of(self, variable: Variable) -> str:
        """Return a variable's name with its layer's name."""

    def is_variable(self, value: object) -> bool:
        """Whether a member of a model's weights is a variable."""

    def scattered(self, state: NDArray[Any], shift: int) -> NDArray[Any]:
        """Return a random generator's state with another seed."""

    # Models.
    def is_compiled(self, model: Model) -> bool:
        """Whether `fit` and `evaluate` may be called."""

    def input_structure(self, model: Model) -> Structure:
        """Return the nested symbolic inputs of a functional model, None for any other."""

    def output_structure(self, model: Model) -> Structure:
        """Return the nested symbolic outputs of a functional model."""

    def has_own_step(self, model: Model) -> bool:
        """Whether the model's class defines its own step."""

    def has_own_predict_step(self, model: Model) -> bool:
        """Whether predictions may differ from the model's outputs."""

    def random_states(self, model: Model) -> list[Variable]:
        """Return the variables of the layers' random generators."""

    def sync(self, model: Model) -> None:
        """Write the values to variables, which JAX's loop keeps elsewhere while it runs."""

    def run_on_several(self, model: Model) -> None:
        """Prepare a model for several workers."""

    def limit_steps_per_execution(self, model: Model) -> None:
        """Run one step at a time."""

    def steps_variable(self, model: Model, *, begin: int) -> Variable | None:
        """Return the variable with the steps per call, set to `begin`; None: they stay fixed."""

    def is_rowwise(self, model: Model) -> bool:
        """Whether loss and metrics surely do not depend on how rows are batched."""

    # Losses and metrics.
    def compiled_losses(self, model: Model) -> Structure:
        """Return the losses as passed to `compile`, or None."""

    def loss_objects(self, model: Model) -> list[KerasLoss]:
        """Return the losses passed to `compile`, flat."""

    def unknown_metric(self, model: Model) -> str:
        """Return the name of an unknown metric that Keras silently accepts, or nothing."""

    def give_label(self, model: Model, output: str) -> None:
        """Tell a model's loss that a single label belongs to this output."""

    def loss_trackers(self, model: Model, batch: Structure, outputs: int) -> list[KerasMetric]:
        """Return metrics of losses that count batches instead of rows."""

    def build_metrics(self, model: Model, batch: Structure) -> None:
        """Create the metrics before the first step would, if the model declares its outputs."""

    def own_merge(self, metric: KerasMetric) -> bool:
        """Whether a metric defines its own merge of states."""

    def clone_metric(self, metric: KerasMetric) -> KerasMetric:
        """Return a fresh metric of the same configuration."""

    # Optimizers.
    def is_optimizer(self, value: object) -> bool:
        """Whether `value` is an optimizer, wrapped or not."""

    def needs_every_row(self, optimizer: Optimizer) -> bool:
        """Whether the optimizer must get each row of sparse gradients, not their sums."""

    def plain_adam(self, optimizer: Optimizer) -> Any:
        """Return the Adam, wrapped or not, that updates by the published rule; None: another."""

    def apply_name(self, optimizer: Optimizer) -> str:
        """Return the outermost method that every loop calls, where gradients are summed."""

    def build_optimizer(self, optimizer: Optimizer, variables: Sequence[Variable]) -> None:
        """Create the optimizer's variables for these trainable variables."""

    def optimizer_variables(self, optimizer: Optimizer) -> list[Variable]:
        """Return the optimizer's variables; only its counters before it is built."""

    def hyperparameters(self, optimizer: Optimizer) -> dict[str, Variable]:
        """Return the hyperparameters outside the optimizer's variables, by name."""

    def rate_variable(self, optimizer: Optimizer) -> Variable | None:
        """Return the variable of the learning rate; None if it is a schedule."""

    def optimized(self, optimizer: Optimizer, trainable: Sequence[Variable]) -> list[int] | None:
        """Return which of `trainable` the optimizer was built for; None if it is not built."""


class Backend(Protocol):
    """What differs between TensorFlow, JAX and torch; each module has the same members."""

    @property
    def UNDOES_EMPTY_STEPS(self) -> bool:
        """Whether a step itself undoes the changes made by a placeholder row."""

    @property
    def ROW_ERRORS(self) -> tuple[type[Exception], ...]:
        """What an operation raises for a row that it cannot read."""

    # The process.
    def prepare(self, threads: int) -> None:
        """Set threads, before the framework runs anything; 0 leaves the choice to it."""

    def begin(self, seed: int) -> None:
        """Forget the leftovers of this process's earlier jobs."""

    def reseed(self, seed: int) -> None:
        """Seed the generator of layers without a seed of their own."""

    # Tensors, and numbers of rows.
    def tensor(self, array: NDArray[Any]) -> Tensor:
        """Return an array as a tensor."""

    def scalar(self, number: int) -> Tensor:
        """Return a number of rows."""

    def as_float(self, number: Tensor) -> Tensor:
        """Return a number of rows as a float."""

    def stretched(self, value: Tensor, rows: Tensor, of: Tensor) -> Tensor:
        """Return a value times `of` over `rows`, if there are rows."""

    def reshaped(self, value: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor of another shape."""

    # Steps.
    def counted(
        self, original: StepFunction, step: "Step", check: Callable[[], None]
    ) -> StepFunction:
        """Return a model's step that knows its row counts."""

    def exchange(
        self, made: "KerasModel", optimizer: Optimizer, collective: Collective, step: "Step"
    ) -> Meet:
        """Return the function from gradients and variables to all ranks' gradients."""

    def finish(self, model: Model) -> None:
        """Add what else a model needs once its steps know their row counts."""

    def ready(self, made: "KerasModel", sample: Structure, *, training: bool) -> None:
        """Prepare a built model for its loop."""

    def callbacks(
        self, made: "KerasModel", given: Sequence[KerasCallback], **params: int
    ) -> Sequence[KerasCallback]:
        """Return callbacks as Keras's loop takes them."""

    def step_clock(
        self, timings: Stopwatch, exchanged: Callable[[], float], feed: Feed
    ) -> "KerasClock":
        """Return the clock for steps."""

    # Rows in, outputs out.
    def predicted(self, model: Model, features: Structure) -> Structure:
        """Return a model's predictions for a batch, in its own structure."""

    def predict(self, made: "KerasModel", layout: "AnyLayout", *, fixed: bool) -> OutputsOfRows:
        """Return an object that computes a model's outputs for rows."""

    def feed(
        self,
        plan: Plan,
        rank: int,
        columns: Arrays,
        shape: Callable[[Arrays], dict[str, NDArray[Any]]],
        pack: Callable[[dict[str, Tensor]], Structure],
        *,
        counted: bool,
    ) -> Feed:
        """Return the batches of one rank's rows."""

    def loader_feed(
        self, created: Created, collective: Collective, parts: "KerasParts", /
    ) -> FeedOfLoader:
        """Return the batches of one rank's loader; called on all ranks."""
