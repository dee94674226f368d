"""The backend module for TensorFlow, for Keras 2 and 3; like `on_jax` and `on_torch`."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.gradients.fused_sum import FusedSum
from zoo.orca.frameworks.gradients.layout import GradientSpec
from zoo.orca.frameworks.keras.backends.tensorflow_exchange import exchanged
from zoo.orca.frameworks.keras.backends.tensorflow_feed import DatasetFeed
from zoo.orca.frameworks.keras.backends.tensorflow_loader_feed import DatasetOfLoader
from zoo.orca.frameworks.keras.backends.tensorflow_memory import only_reads, rows_at_once
from zoo.orca.frameworks.keras.columns.inputs import InputLayout
from zoo.orca.frameworks.keras.feed import Counted
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.outputs import AnyLayout
from zoo.orca.frameworks.keras.protocols import Feed, Meet
from zoo.orca.frameworks.keras.training.clock import KerasClock
from zoo.orca.frameworks.keras.training.steps import Step
from zoo.orca.frameworks.keras.training.updates import fuse_updates
from zoo.orca.frameworks.keras.types import (
    KerasCallback,
    Model,
    Optimizer,
    StepFunction,
    Tensor,
    Variable,
)
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.timings import Stopwatch

#: A step itself does not undo the changes made by a placeholder row.
UNDOES_EMPTY_STEPS = False
#: What an operation raises for a row that it cannot read.
ROW_ERRORS: tuple[type[Exception], ...] = (tf.errors.InvalidArgumentError, tf.errors.DataLossError)


def prepare(threads: int) -> None:
    """Set threads, before TensorFlow runs anything; 0 leaves the choice to TensorFlow."""
    if threads:
        # Fixed once TensorFlow has run anything, so a warm child keeps its first job's setting.
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)


def begin(seed: int) -> None:
    """Forget the leftovers of this process's earlier jobs."""
    tf.config.run_functions_eagerly(False)
    tf.random.set_seed(seed)


def reseed(seed: int) -> None:
    """No-op: a new seed would make TensorFlow compile anew."""


def tensor(array: NDArray[Any]) -> Tensor:
    """Return an array as a tensor."""
    return tf.convert_to_tensor(array)


def scalar(number: int) -> Tensor:
    """Return a number of rows."""
    return tf.constant(number, tf.int64)


def as_float(number: Tensor) -> Tensor:
    """Return a number of rows as a float."""
    return tf.cast(number, tf.float32)


def stretched(value: Tensor, rows: Tensor, of: Tensor) -> Tensor:
    """Return a value times `of` over `rows`, if there are rows."""
    return value * tf.cast(as_float(of) / as_float(tf.maximum(rows, 1)), value.dtype)


def reshaped(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of another shape."""
    return tf.reshape(value, shape)


def counted(original: StepFunction, step: Step, check: Callable[[], None]) -> StepFunction:
    """Return a model's step that knows its row counts."""
    # Only the model's own step may need AutoGraph; it would slow down these functions.
    enter, leave, check = map(
        tf.autograph.experimental.do_not_convert, (step.enter, step.leave, check)
    )

    def counted_step(data: Structure) -> Structure:
        # A user's callback may evaluate the model on other data.
        if not isinstance(data, Counted):
            return original(data)
        enter(*data.rows)
        result = original(data.data)
        leave()
        check()
        return result

    return counted_step


def exchange(made: KerasModel, optimizer: Optimizer, collective: Collective, step: Step) -> Meet:
    """Return the function from gradients and variables to all ranks' gradients."""
    keep_rows = made.keras.needs_every_row(optimizer)
    fused: dict[tuple[GradientSpec, ...], FusedSum] = {}

    def make(specs: tuple[GradientSpec, ...]) -> FusedSum:
        return FusedSum(collective, specs, keep_rows=keep_rows)

    def meet(gradients: list[Tensor], variables: list[Variable]) -> list[Tensor]:
        return exchanged(gradients, variables, step.rows, step.of, fused, make, step.timed)

    return meet


def finish(model: Model) -> None:
    """No-op: the steps need nothing else."""


def ready(made: KerasModel, sample: Structure, *, training: bool) -> None:
    """Prepare a built model for its loop."""
    made.keras.build_metrics(made.model, sample)
    if training:
        fuse_updates(made)


def callbacks(
    made: KerasModel, given: Sequence[KerasCallback], **params: int
) -> Sequence[KerasCallback]:
    """Return callbacks unchanged."""
    return given


def step_clock(timings: Stopwatch, exchanged: Callable[[], float], feed: Feed) -> KerasClock:
    """Return the clock for steps."""
    from zoo.orca.frameworks.keras.backends.tensorflow_clock import StepClock

    return StepClock(timings, exchanged)


def predicted(model: Model, features: Structure) -> Structure:
    """Return a model's predictions for a batch, in its own structure."""
    # A tuple of one, because Keras takes a bare tuple for (inputs, labels).
    return model.predict_step((features,))


class GraphPredict:
    """Computes a model's outputs for rows, in one graph for batches of any size.

    Attributes
    ----------
    rows_at_once : int
        How many rows suit the model.
    """

    def __init__(self, made: KerasModel, layout: AnyLayout, *, fixed: bool) -> None:
        self._made, self._layout = made, layout
        self._traced: Any = None
        if getattr(made.model, "run_eagerly", False):
            self._step = self._predict
        elif fixed and isinstance(layout, InputLayout):
            signature = [tf.TensorSpec(shape, _dtype(name)) for shape, name in layout.signature()]
            self._step = tf.function(self._predict, input_signature=signature)
            self._traced = self._step
        else:
            self._step = tf.function(self._predict, reduce_retracing=True)

    @property
    def rows_at_once(self) -> int:
        """How many rows suit the model, estimated from its graph."""
        return rows_at_once(self._traced.get_concrete_function() if self._traced else None)

    @property
    def is_pure(self) -> bool:
        """Whether its graph only reads."""
        return self._traced is not None and only_reads(self._traced.get_concrete_function())

    def __call__(self, arrays: dict[str, NDArray[Any]]) -> list[NDArray[np.generic]]:
        """Return the outputs."""
        tensors = [tf.convert_to_tensor(values) for values in arrays.values()]
        return [np.asarray(output) for output in self._step(*tensors)]

    def _predict(self, *features: Structure) -> list[Any]:
        batch = dict(zip(self._layout.keys(), features, strict=True))
        outputs = predicted(self._made.model, self._layout.pack_features(batch))
        return [tf.convert_to_tensor(output) for output in tf.nest.flatten(outputs)]


#: The names that the other backend modules have, too.
feed, loader_feed, predict = DatasetFeed, DatasetOfLoader, GraphPredict


def _dtype(name: str) -> Any:
    return tf.string if name == "string" else tf.as_dtype(name)
