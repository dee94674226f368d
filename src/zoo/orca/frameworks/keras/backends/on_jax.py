"""The backend module for Keras 3 on JAX, like `on_tensorflow` and `on_torch`.

While an epoch runs, Keras's loop on JAX keeps the model's state outside its variables. A step is a
function from state and batch to logs and state, compiled as a whole. On several workers, `jax_cut`
compiles it in pieces and sums gradients between them.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.backends.jax_bits import draw_unrolled
from zoo.orca.frameworks.keras.backends.jax_cut import CutStep, exchange_here
from zoo.orca.frameworks.keras.backends.jax_exchange import Exchange
from zoo.orca.frameworks.keras.backends.jax_flat import flattened, narrow_shapes
from zoo.orca.frameworks.keras.feed import ArrayFeed, Counted, no_strings
from zoo.orca.frameworks.keras.loaders.array_feed import ArrayLoaderFeed
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.outputs import AnyLayout
from zoo.orca.frameworks.keras.protocols import Feed, Meet
from zoo.orca.frameworks.keras.rows_at_once import rows_by_layers
from zoo.orca.frameworks.keras.training.clock import HostClock, KerasClock
from zoo.orca.frameworks.keras.training.quiet import quiet
from zoo.orca.frameworks.keras.training.steps import Step
from zoo.orca.frameworks.keras.types import (
    Model,
    Optimizer,
    StepFunction,
    Tensor,
    Variable,
)
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.timings import Stopwatch

#: A step itself undoes the changes made by a placeholder row.
UNDOES_EMPTY_STEPS = True
#: No operation here reads text or images.
ROW_ERRORS: tuple[type[Exception], ...] = ()

_NARROW = {"int64": "int32", "uint64": "uint32"}


def prepare(threads: int) -> None:
    """Let random bits be drawn faster.

    The plug-in has already set what JAX reads when it is imported, and the child's environment
    sets the number of XLA's threads.
    """
    draw_unrolled()


def begin(seed: int) -> None:
    """No-op: JAX has no seed and no mode of its own."""


def reseed(seed: int) -> None:
    """No-op: JAX has no generator of its own."""


def tensor(array: NDArray[Any]) -> Tensor:
    """Return an array unchanged: JAX converts it when it is used."""
    return array


def scalar(number: int) -> Tensor:
    """Return a number of rows."""
    return np.int32(number)


def as_float(number: Tensor) -> Tensor:
    """Return a number of rows as a float."""
    return jnp.asarray(number, jnp.float32)


def stretched(value: Tensor, rows: Tensor, of: Tensor) -> Tensor:
    """Return a value times `of` over `rows`, if there are rows."""
    return value * jnp.asarray(of / jnp.maximum(rows, 1), value.dtype)


def reshaped(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of another shape."""
    return jnp.reshape(value, shape)


def counted(original: StepFunction, step: Step, check: Callable[[], None]) -> StepFunction:
    """Return a model's step that knows its row counts."""

    def counted_step(state: Structure, data: Structure) -> Structure:
        # A user's callback may evaluate the model on other data.
        if not isinstance(data, Counted):
            return original(state, data)
        rows, of = data.rows
        step.enter(rows, of)
        logs, after = original(state, data.data)
        step.leave()
        check()
        # The parts of the state that change without the other workers.
        own = {1, len(state) - 1}
        kept = [
            _where(rows > 0, new, old) if part in own else new
            for part, (new, old) in enumerate(zip(after, state, strict=True))
        ]
        return logs, tuple(kept)

    return counted_step


def _where(condition: jax.Array, new: list[jax.Array], old: list[jax.Array]) -> list[jax.Array]:
    return [a if a is b else jnp.where(condition, a, b) for a, b in zip(new, old, strict=True)]


def exchange(made: KerasModel, optimizer: Optimizer, collective: Collective, step: Step) -> Meet:
    """Return the function from gradients and variables to all ranks' gradients."""
    summing = Exchange(collective, step.timed)

    def meet(gradients: list[Tensor], variables: list[Variable]) -> list[Tensor]:
        places = [k for k, gradient in enumerate(gradients) if gradient is not None]
        summed = list(gradients)
        if places:
            met = exchange_here([gradients[k] for k in places], step.rows, step.of, summing)
            for k, gradient in zip(places, met, strict=True):
                summed[k] = gradient
        return summed

    return meet


def finish(model: Model) -> None:
    """Let the model compile its training step in pieces."""
    _compile_steps(model, CutStep)


def ready(made: KerasModel, sample: Structure, *, training: bool) -> None:
    """Let Keras build losses, metrics and optimizer now, because its loop cannot with `Counted`."""
    if made.keras.is_compiled(made.model):
        made.model._symbolic_build(data_batch=sample)
    if training and narrow_shapes(made.model.trainable_variables):
        _compile_steps(made.model, functools.partial(jax.jit, donate_argnums=0))


def _compile_steps(model: Model, compiled: Callable[..., Callable[..., Any]]) -> None:
    """Let the model compile its training step this way."""

    def make_train_function(force: bool = False) -> None:
        if model.train_function is not None and not force:
            return
        step = model.train_step
        # Without trainable variables there is no place to cut, and no need for speed.
        if model.jit_compile and not model.run_eagerly and model.trainable_variables:
            shapes = narrow_shapes(model.trainable_variables)
            step = compiled(flattened(step, shapes) if shapes else step)
        model.train_function = model._make_function(step)

    object.__setattr__(model, "make_train_function", make_train_function)


callbacks = quiet


def step_clock(timings: Stopwatch, exchanged: Callable[[], float], feed: Feed) -> KerasClock:
    """Return the clock for steps."""
    return HostClock(timings, exchanged, feed)


def accept(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return a column in a dtype that JAX has; without 64 bits, JAX would truncate numbers.

    Raises
    ------
    ModelError, DataError
        If the column holds strings, or numbers that need 64 bits.
    """
    values = no_strings(name, values)
    narrow = _NARROW.get(values.dtype.name)
    if narrow is None or jax.config.jax_enable_x64:
        return values
    short = values.astype(narrow)
    if not np.array_equal(short, values):
        raise DataError(
            f"column {name!r} holds whole numbers that need 64 bits, and JAX has 32\nIndex them "
            "from 0, or set the environment variable JAX_ENABLE_X64=1 on the workers"
        )
    return short


feed = functools.partial(ArrayFeed, accept=accept, tensor=tensor, scalar=scalar)
loader_feed = functools.partial(ArrayLoaderFeed, accept=accept, tensor=tensor, scalar=scalar)


class JaxPredict:
    """Computes a model's outputs for rows, compiled for few different row counts.

    Attributes
    ----------
    is_pure : bool
        Whether it is compiled: then all it has is its arguments, and what it makes of the state is
        dropped.
    """

    def __init__(self, made: KerasModel, layout: AnyLayout, *, fixed: bool) -> None:
        self._made, self._layout = made, layout
        model = made.model
        eager = getattr(model, "run_eagerly", False) or not getattr(model, "jit_compile", True)
        self._step = self._predict if eager else jax.jit(self._predict)
        self.is_pure = not eager

    @property
    def rows_at_once(self) -> int:
        """How many rows suit the model, estimated from its layers."""
        return rows_by_layers(self._made)

    def __call__(self, arrays: dict[str, NDArray[Any]]) -> list[NDArray[np.generic]]:
        """Return the outputs."""
        rows = len(next(iter(arrays.values())))
        # Every new row count would be compiled anew, so zeros pad to the next power of two.
        room = 1 << max(rows - 1, 0).bit_length()
        outputs = self._outputs(arrays, room)
        if any(one.shape[:1] != (room,) for one in outputs):
            # An output without one entry a row is refused, with the shape that it has for these
            # rows alone.
            return self._outputs(arrays, rows)
        return [one[:rows] for one in outputs]

    def _outputs(self, arrays: dict[str, NDArray[Any]], room: int) -> list[NDArray[Any]]:
        accepted = self._layout.by_column(accept, arrays)
        filled = {name: _filled(values, room) for name, values in accepted.items()}
        return [np.asarray(output) for output in self._step(_state(self._made.model), filled)]

    def _predict(self, state: Structure, batch: dict[str, Any]) -> list[Any]:
        outputs, _ = self._made.model.predict_step(state, (self._layout.pack_features(batch),))
        return list(self._made.keras.flatten(outputs))


def predicted(model: Model, features: Structure) -> Structure:
    """Return a model's predictions for a batch, in its own structure."""
    outputs, _ = model.predict_step(_state(model), (features,))
    return outputs


predict = JaxPredict


def _state(model: Model) -> tuple[list[jax.Array], list[jax.Array]]:
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )


def _filled(values: NDArray[Any], room: int) -> NDArray[Any]:
    if len(values) == room:
        return values
    return np.concatenate([values, np.zeros((room - len(values), *values.shape[1:]), values.dtype)])
