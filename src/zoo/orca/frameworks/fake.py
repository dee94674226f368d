"""A plug-in without a framework: linear regression in numpy, exact and quick.

It replaces a real framework in tests of the engine, and shows in one file everything that a plug-in
needs. Its models are `LinearModel`; `model_creator(config)` returns one.
"""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import EvaluateJob, Job, PredictJob, TrainJob
from zoo.orca.wire.messages.progress import EpochBegan, EpochEnded, Progress
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import GRADIENT_BYTES, State, unpack
from zoo.orca.worker.plugin import (
    Built,
    Columns,
    Evaluated,
    Predictor,
    Rows,
    Trained,
    World,
    check_state_size,
)

_OUTPUTS = (OutputSpec(name="prediction", dtype="float32", row_shape=()),)


@dataclass(kw_only=True)
class LinearModel:
    """One weight per feature, trained by gradient descent on the mean squared error.

    Parameters
    ----------
    features : int
        Numbers per row, over all feature columns.
    rate : float
        Learning rate.
    on_step : callable, optional
        Called as ``on_step(rank, step)`` before each step, so that tests can inject faults.
    """

    features: int
    rate: float = 0.1
    on_step: Callable[[int, int], None] | None = None
    weights: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.weights = np.zeros(self.features)


class FakeFramework:
    """Implements `zoo.orca.worker.plugin.Framework`."""

    def prepare(self, job: Job, threads: int) -> None:
        """No-op: there is nothing to import."""

    def __init__(self) -> None:
        self._waiting: LinearModel | None = None

    def make(self, job: Job) -> None:
        """Call the creator."""
        self._waiting = _created(job)

    def _model(self, job: Job) -> LinearModel:
        made, self._waiting = self._waiting or _created(job), None
        return _with_state(made, job)

    def train(self, job: TrainJob, rows: Rows, validation: Rows | None, world: World) -> Trained:
        """Take the same steps as one worker would, up to the order of additions."""
        model = self._model(job)
        check_state_size(model.weights.nbytes, job)
        step, done = _step(job), world.begun.steps if world.begun else 0
        count = job.steps_per_epoch or rows.plan.steps_per_pass
        order = rows.plan.steps(world.rank, step)
        sums = np.zeros(2)
        for part in world.begun.sums if world.begun else ():
            sums += part.tensors["sums"]
        history: dict[str, list[float]] = {"loss": []}
        last = job.initial_epoch + job.epochs
        for epoch in range(job.initial_epoch, last):
            _tell(world, EpochBegan(epoch=epoch, epochs=last, steps=count))
            for number, chosen in enumerate(itertools.islice(order, count - done), done + 1):
                if model.on_step is not None:
                    model.on_step(world.rank, step)
                # The same on all ranks, so one of them adds it up.
                sums += _train_step(model, rows, chosen, world) * (world.rank == 0)
                step += 1
                if world.saver is not None and number < count and world.saver.is_due(number):
                    now = functools.partial(_state, model, epoch, step)
                    world.saver.save_within(now, history, number, State({"sums": sums}))
            world.collective.all_reduce(sums)
            history["loss"].append(float(sums[0] / sums[1]))
            sums, done = np.zeros(2), 0
            if validation is not None:
                value = _mean_squared_error(model, validation, job.validation_steps, world)
                history.setdefault("val_loss", []).append(value)
            logs = {name: values[-1] for name, values in history.items()}
            _tell(world, EpochEnded(steps=count, logs=logs))
            is_ended = world.epoch_ended(logs, is_stopped=False, is_last=epoch + 1 == last)
            state = functools.partial(_state, model, epoch + 1, step)
            if world.saver is not None:
                world.saver.save(state, history)
            if is_ended:
                break
        return Trained(history=history, state=state, outputs=_OUTPUTS)

    def evaluate(self, job: EvaluateJob, rows: Rows, world: World) -> Evaluated:
        """Return the mean squared error over all workers' rows."""
        value = _mean_squared_error(self._model(job), rows, job.steps, world)
        return Evaluated({"loss": value}, _OUTPUTS)

    def build(self, job: Job, sample: Columns | None) -> Built:
        """Return the creator's weights."""
        return Built(_state(self._model(job), 0, 0), _OUTPUTS)

    def predictor(self, job: PredictJob) -> Predictor:
        """Return a predictor with the weights."""
        return _Product(self._model(job), job.columns)


@dataclass
class _Product:
    """Implements `zoo.orca.worker.plugin.Predictor`."""

    model: LinearModel
    spec: FeatureSpec

    @property
    def is_as_new(self) -> bool:
        """Always: a product changes nothing."""
        return True

    def begin(self, sample: Columns) -> int:
        """Return no limit: there is nothing to build."""
        return 1 << 16

    def __call__(self, columns: Columns) -> list[NDArray[Any]]:
        """Return the product."""
        return [(_inputs(columns, self.spec) @ self.model.weights).astype(np.float32)]

    def end(self) -> None:
        """No-op: nothing is held."""


def framework() -> FakeFramework:
    """Return the plug-in."""
    return FakeFramework()


def _created(job: Job) -> LinearModel:
    model = unpack(job.model.creator)(unpack(job.model.config))
    if not isinstance(model, LinearModel):
        raise ModelError(f"model_creator returned a {type(model).__qualname__}, not a LinearModel")
    return model


def _with_state(model: LinearModel, job: Job) -> LinearModel:
    if job.state is not None:
        model.weights = State.from_bytes(job.state).tensors["weights/w"].copy()
    return model


def _state(model: LinearModel, epoch: int, step: int) -> State:
    meta = {
        "framework": "fake",
        "epoch": epoch,
        "step": step,
        GRADIENT_BYTES: model.weights.nbytes,
    }
    return State({"weights/w": model.weights.copy()}, meta)


def _step(job: Job) -> int:
    return int(State.from_bytes(job.state).meta["step"]) if job.state is not None else 0


def _inputs(columns: Columns, spec: FeatureSpec) -> NDArray[np.float64]:
    parts = [np.asarray(columns[column.name], np.float64) for column in spec.features]
    return np.hstack([part.reshape(len(part), math.prod(part.shape[1:])) for part in parts])


def _errors(
    model: LinearModel, rows: Rows, chosen: NDArray[np.int64] | slice
) -> tuple[NDArray[Any], NDArray[Any]]:
    inputs = _inputs({name: column[chosen] for name, column in rows.columns.items()}, rows.spec)
    label = np.asarray(rows.columns[rows.spec.labels[0].name][chosen], np.float64)
    return inputs, inputs @ model.weights - label


def _train_step(
    model: LinearModel, rows: Rows, chosen: NDArray[np.int64], world: World
) -> NDArray[np.float64]:
    inputs, errors = _errors(model, rows, chosen)
    # Gradient, squared error and rows in one buffer: one exchange per step.
    buffer = np.concatenate([2 * errors @ inputs, [errors @ errors, len(errors)]])
    world.collective.all_reduce(buffer)
    model.weights -= model.rate * buffer[:-2] / buffer[-1]
    return buffer[-2:]


def _mean_squared_error(model: LinearModel, rows: Rows, steps: int | None, world: World) -> float:
    left, sums = min(steps or rows.plan.steps_per_pass, rows.plan.steps_per_pass), np.zeros(2)
    for order, ends in rows.plan.passes(world.rank):
        taken = ends[:left]
        _, errors = _errors(model, rows, order[: taken[-1]])
        sums += (errors @ errors, len(errors))
        left -= len(taken)
        if not left:
            break
    world.collective.all_reduce(sums)
    return float(sums[0] / sums[1])


def _tell(world: World, progress: Progress) -> None:
    if world.rank == 0:
        world.report(progress)
