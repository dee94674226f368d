"""What a model's steps need on several workers; unused with one worker.

The loop stays Keras's own. The changes are on the instances, not their classes:

* `train_step` and `test_step` get this rank's row count of the step;
* every optimizer sums gradients over ranks before it applies them;
* losses that are sums, not means, are scaled up so that weighting by rows gives the sum again.
"""

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from zoo.orca.errors import ModelError, OrcaError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.protocols import Backend
from zoo.orca.frameworks.keras.types import KerasLoss, KerasMetric, Optimizer, Tensor, Variable
from zoo.orca.worker.collective.protocol import Collective

#: A method of an optimizer.
_Apply = Callable[..., Any]


class Step:
    """The step that is traced or run now: its rows on this rank and on all ranks.

    Attributes
    ----------
    rows, of : tensor
    exchanges : int
        Calls of optimizers so far.
    exchange_seconds : float
        Spent so far on summing gradients over workers.
    problem : Exception or None
        Why the model cannot be trained here. The framework would replace an error raised inside a
        step. So the caller of the loop raises it again.
    """

    def __init__(self, workers: int, backend: Backend) -> None:
        # Gradients that are applied outside any step have the same weight on all ranks.
        self._none = (backend.scalar(1), backend.scalar(workers))
        self._backend = backend
        self.exchanges = 0
        self.exchange_seconds = 0.0
        self.problem: Exception | None = None
        self.leave()

    def enter(self, rows: Tensor, of: Tensor) -> None:
        """Begin a step."""
        self.rows, self.of = rows, of

    def leave(self) -> None:
        """End the step."""
        self.rows, self.of = self._none

    def refuse(self, problem: ModelError) -> NoReturn:
        """Raise, and remember the error."""
        self.problem = problem
        raise problem

    def timed(self, exchange: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time counted."""

        def run(*arguments: object) -> Any:
            began = time.perf_counter()
            try:
                result = exchange(*arguments)
            except OrcaError as error:
                self.problem = error
                raise
            self.exchange_seconds += time.perf_counter() - began
            return result

        return run

    def stretched(self, value: Tensor) -> Tensor:
        """Return a sum over own rows, scaled up so that the weighting by rows cancels."""
        return self._backend.stretched(value, self.rows, self.of)

    def weight(self) -> Any:
        """Return this rank's row count as a weight."""
        return self._backend.as_float(self.rows)


def distribute(
    made: KerasModel, collective: Collective, *, weighted: bool, batch: Structure, outputs: int
) -> Step:
    """Adapt a model's steps to several workers; return their `Step`.

    Parameters
    ----------
    made : KerasModel
    collective : Collective
    weighted : bool
        Whether rows have weights.
    batch : structure
        A small batch, which builds parts that must exist before the first step.
    outputs : int
        The number of the model's outputs.

    Raises
    ------
    ModelError
        If the model's loss cannot be computed from the workers' parts.
    """
    step = Step(collective.size, made.backend)
    made.keras.run_on_several(made.model)
    _check_losses(made, weighted)
    for loss in made.keras.loss_objects(made.model):
        if getattr(loss, "reduction", None) == "sum":
            _stretch(loss, step)
    for tracker in made.keras.loss_trackers(made.model, batch, outputs):
        _count_rows(tracker, step)
    for optimizer in made.optimizers().values():
        _meet(made, optimizer, collective, step)
    for name, check in (("train_step", _all_met(made, step)), ("test_step", lambda: None)):
        counted = made.backend.counted(getattr(made.model, name), step, check)
        _override(made.model, name, counted)
    made.backend.finish(made.model)
    return step


def _override(owner: object, name: str, value: object) -> None:
    """Set an attribute of an instance past Keras's tracking, which would save or delegate it."""
    object.__setattr__(owner, name, value)


def _all_met(made: KerasModel, step: Step) -> Callable[[], None]:
    def check() -> None:
        if step.exchanges == 0 and made.model.trainable_variables:
            problem = ModelError(
                "train_step applied gradients with no optimizer that Orca knows, so the workers' "
                "models would differ\nMake optimizers attributes of the model, or pass them to "
                "compile"
            )
            step.refuse(problem)

    return check


def _meet(made: KerasModel, optimizer: Optimizer, collective: Collective, step: Step) -> None:
    """Sum gradients over ranks in the optimizer's outermost method."""
    meet = made.backend.exchange(made, optimizer, collective, step)

    def summed(gradients: list[Tensor], variables: list[Variable]) -> list[Tensor]:
        step.exchanges += 1
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is not None and not made.is_floating(gradient):
                problem = ModelError(
                    f"the gradient of the variable {variable.name!r} is of "
                    f"{made.keras.dtype_name(gradient)}\nMake the variable one of floats, "
                    "or train with one worker: several can train floating-point variables only"
                )
                step.refuse(problem)
        return meet(gradients, variables)

    def apply_gradients(
        original: _Apply,
        grads_and_vars: Iterable[tuple[Tensor, Variable]],
        *args: object,
        **kwargs: object,
    ) -> Any:
        pairs = list(grads_and_vars)
        variables = [variable for _, variable in pairs]
        gradients = summed([gradient for gradient, _ in pairs], variables)
        return original(list(zip(gradients, variables, strict=True)), *args, **kwargs)

    def apply(
        original: _Apply,
        grads: Iterable[Tensor],
        trainable_variables: Iterable[Variable] | None = None,
    ) -> Any:
        variables = trainable_variables
        if variables is None:
            variables = optimizer._trainable_variables
        return original(summed(list(grads), list(variables)), trainable_variables)

    def stateless_apply(
        original: _Apply, state: Structure, grads: Iterable[Tensor], trainable: Iterable[Tensor]
    ) -> Any:
        gradients = summed(list(grads), list(optimizer._trainable_variables))
        return original(state, gradients, trainable)

    ways: dict[str, Callable[..., Any]] = {
        "apply": apply,
        "apply_gradients": apply_gradients,
        "stateless_apply": stateless_apply,
    }
    name = made.keras.apply_name(optimizer)
    _override(optimizer, name, functools.partial(ways[name], getattr(optimizer, name)))


def _check_losses(made: KerasModel, weighted: bool) -> None:
    for loss in made.keras.loss_objects(made.model):
        reduction = getattr(loss, "reduction", "")
        if reduction in made.keras.UNDIVIDED_REDUCTIONS:
            raise ModelError(
                f"the loss {getattr(loss, 'name', loss)!r} has reduction {reduction!r}, which "
                "several workers cannot put together\nUse 'sum_over_batch_size' or 'sum'"
            )
        if reduction == "mean_with_sample_weight" and weighted:
            raise ModelError(
                f"the loss {getattr(loss, 'name', loss)!r} has reduction "
                "'mean_with_sample_weight', which several workers cannot put together when rows "
                "have weights\nUse 'sum_over_batch_size'"
            )


def _stretch(loss: KerasLoss, step: Step) -> None:
    """Scale up a loss that sums its rows' losses, to cancel the weighting by rows."""
    kind = type(loss)

    def stretched(self: KerasLoss, *args: object, **kwargs: object) -> Tensor:
        value = kind.__call__(self, *args, **kwargs)
        return step.stretched(value)

    # Python looks for __call__ only in the class, so this instance gets its own class.
    loss.__class__ = type(kind.__name__, (kind,), {"__call__": stretched, "__doc__": kind.__doc__})


def _count_rows(tracker: KerasMetric, step: Step) -> None:
    """Turn a mean over batches into one over rows, because workers' batches differ in size."""
    original = tracker.update_state

    def update_state(values: Tensor, sample_weight: Tensor = None) -> Any:
        return original(values, sample_weight=step.weight())

    _override(tracker, "update_state", update_state)
