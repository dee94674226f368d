"""The backend module for Keras 3 on torch; like `on_tensorflow` and `on_jax`."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from keras.src.backend.torch.core import get_device
from numpy.typing import NDArray

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.gradients.fused_sum import FusedSum
from zoo.orca.frameworks.gradients.layout import GradientSpec
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

UNDOES_EMPTY_STEPS = False
#: No operation here reads text or images.
ROW_ERRORS: tuple[type[Exception], ...] = ()


def prepare(threads: int) -> None:
    """Set threads; 0 leaves the choice to torch."""
    if threads:
        torch.set_num_threads(threads)


def begin(seed: int) -> None:
    """Forget the leftovers of this process's earlier jobs."""
    torch.manual_seed(seed)


def reseed(seed: int) -> None:
    """Seed the generator of layers without a seed of their own."""
    torch.manual_seed(seed)


def tensor(array: NDArray[Any]) -> Tensor:
    """Return an array as a tensor, on the CPU without a copy."""
    if not array.flags.writeable:  # a mapped file, of which torch would warn
        array = array.copy()
    return torch.from_numpy(array).to(get_device())


def scalar(number: int) -> Tensor:
    """Return a number of rows."""
    return number


def as_float(number: Tensor) -> Tensor:
    """Return a number of rows as a float."""
    return float(number)


def stretched(value: Tensor, rows: Tensor, of: Tensor) -> Tensor:
    """Return a value times `of` over `rows`, if there are rows."""
    return value * (of / max(rows, 1))


def reshaped(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of another shape."""
    return value.reshape(shape)


def counted(original: StepFunction, step: Step, check: Callable[[], None]) -> StepFunction:
    """Return a model's step that knows its row counts."""

    def counted_step(data: Structure) -> Structure:
        # A user's callback may evaluate the model on other data.
        if not isinstance(data, Counted):
            return original(data)
        step.enter(*data.rows)
        result = original(data.data)
        step.leave()
        check()
        return result

    return counted_step


def exchange(made: KerasModel, optimizer: Optimizer, collective: Collective, step: Step) -> Meet:
    """Return the function from gradients and variables to all ranks' gradients."""
    fused: dict[tuple[GradientSpec, ...], Callable[..., Any]] = {}

    def meet(gradients: list[Tensor], variables: list[Variable]) -> list[Tensor]:
        known = [k for k, gradient in enumerate(gradients) if gradient is not None]
        arrays = [_array(gradients[k]) for k in known]
        specs = tuple(
            GradientSpec(shape=array.shape, dtype=array.dtype, sparse=False) for array in arrays
        )
        if specs not in fused:
            fused[specs] = step.timed(FusedSum(collective, specs, keep_rows=False))
        summed = list(gradients)
        for k, value in zip(known, fused[specs](step.rows, step.of, *arrays), strict=True):
            like = gradients[k]
            summed[k] = torch.from_numpy(value).to(like.device, like.dtype)
        return summed

    return meet


def _array(gradient: Tensor) -> NDArray[Any]:
    """Return a gradient's values, on the CPU without a copy."""
    gradient = gradient.detach()
    if gradient.dtype in (torch.bfloat16, torch.float16):
        gradient = gradient.float()
    if gradient.is_sparse:
        gradient = gradient.to_dense()
    array: NDArray[Any] = gradient.cpu().numpy()
    return array


def finish(model: Model) -> None:
    """No-op: the steps need nothing else."""


def ready(made: KerasModel, sample: Structure, *, training: bool) -> None:
    """Let Keras build losses, metrics and optimizer now, because its loop cannot with `Counted`."""
    if made.keras.is_compiled(made.model):
        made.model._symbolic_build(data_batch=sample)


callbacks = quiet


def step_clock(timings: Stopwatch, exchanged: Callable[[], float], feed: Feed) -> KerasClock:
    """Return the clock for steps."""
    return HostClock(timings, exchanged, feed)


feed = functools.partial(ArrayFeed, accept=no_strings, tensor=tensor, scalar=scalar)
loader_feed = functools.partial(ArrayLoaderFeed, accept=no_strings, tensor=tensor, scalar=scalar)


class EagerPredict:
    """Computes a model's outputs for rows.

    Attributes
    ----------
    is_pure : bool
        Never certain: layers run as Python.
    """

    is_pure = False

    def __init__(self, made: KerasModel, layout: AnyLayout, *, fixed: bool) -> None:
        self._made, self._layout = made, layout

    @property
    def rows_at_once(self) -> int:
        """How many rows suit the model, estimated from its layers."""
        return rows_by_layers(self._made)

    def __call__(self, arrays: dict[str, NDArray[Any]]) -> list[NDArray[np.generic]]:
        """Return the outputs."""
        keras = self._made.keras
        accepted = self._layout.by_column(no_strings, arrays)
        batch = {name: tensor(values) for name, values in accepted.items()}
        outputs = predicted(self._made.model, self._layout.pack_features(batch))
        return [np.asarray(keras.to_numpy(one)) for one in keras.flatten(outputs)]


predict = EagerPredict


def predicted(model: Model, features: Structure) -> Structure:
    """Return a model's predictions for a batch, in its own structure."""
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            return model.predict_step((features,))
    finally:
        model.train(was)
