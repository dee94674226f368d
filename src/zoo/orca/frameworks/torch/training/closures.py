"""Optimizers that evaluate the model within their step, for example in a line search.

L-BFGS asks for loss and gradients several times a step. The numbers decide whether it asks again.
On several workers these are the sums over all ranks, bit for bit the same on each, so all ranks ask
equally often. If different processors round a decision differently, the ranks' evaluation counts
differ. That is an error rather than another model.
"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.orca.errors import ModelError
from zoo.orca.worker.collective.protocol import Collective

if TYPE_CHECKING:
    import torch


def needs_closure(optimizer: "torch.optim.Optimizer") -> bool:
    """Whether an optimizer's step requires a closure."""
    parameter = inspect.signature(type(optimizer).step).parameters.get("closure")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def stepped(optimizer: "torch.optim.Optimizer", forward: Callable[[], Any]) -> Any:
    """Let an optimizer take a step with a closure; return the loss before it."""
    losses = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = forward()
        loss.backward()
        losses.append(loss.detach())
        return loss

    if needs_closure(optimizer):
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()
    return losses[0]


class Evaluations:
    """Sums the ranks' losses, one evaluation after another."""

    def __init__(self, collective: Collective) -> None:
        self._collective = collective
        self._step = self._count = 0

    def begin(self) -> None:
        """Begin a step of the optimizer."""
        self._step, self._count = self._step + 1, 0

    def loss(self, value: float, divisor: float) -> float:
        """Return the loss of all ranks' rows; called on all ranks.

        Parameters
        ----------
        value : float
            This rank's part of the loss.
        divisor : float
            This rank's part of the divisor.

        Raises
        ------
        ModelError
            If the ranks are not at the same evaluation.
        """
        self._count += 1
        if self._collective.size == 1:
            return value / divisor if divisor else value
        here = [self._step, self._count]
        told = np.array([value, divisor, *here], np.float64)
        self._collective.all_reduce(told)
        if told[2:].tolist() != [number * self._collective.size for number in here]:
            raise ModelError(
                "the workers' line searches have come apart: their processors round differently\n"
                "Train with one worker, or with an optimizer without a closure"
            )
        return float(told[0] / told[1]) if told[1] else float(told[0])
