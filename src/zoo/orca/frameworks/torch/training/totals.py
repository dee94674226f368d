"""Sums of an epoch's losses, over steps and over ranks."""

import json
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.orca.worker.collective.protocol import Collective


class Totals:
    """A loss over the steps of an epoch: sums of values and of their divisors."""

    def __init__(self, device: torch.device) -> None:
        self._value = torch.zeros((), dtype=torch.float64, device=device)
        self._divisor = torch.zeros((), dtype=torch.float64, device=device)
        self._count = 0.0

    def add(
        self, value: torch.Tensor, divisor: torch.Tensor | None, count: float, rows: int
    ) -> None:
        """Add a step's value for this rank's `rows`, with a weight.

        The divisor is `divisor`, or the row count. Over all ranks, these sum to the step's.
        """
        if divisor is None:
            self._value.add_(value.detach(), alpha=count)
            self._count += rows
        else:
            self._value.add_(value.detach())
            self._divisor.add_(divisor)

    def go_on(self, pair: NDArray[np.float64]) -> None:
        """Add what `pair` returned before."""
        self._value.add_(float(pair[0]))
        self._count += float(pair[1])

    def pair(self) -> tuple[float, float]:
        """Return the sum and its divisor."""
        return float(self._value), self._count + float(self._divisor)

    def mean(self, collective: Collective) -> float:
        """Return the mean over all ranks; called on all ranks."""
        pair = np.array(self.pair())
        collective.all_reduce(pair)
        return float(pair[0] / pair[1]) if pair[1] else float("nan")


def reduced(values: Mapping[str, float], rows: int, collective: Collective) -> dict[str, float]:
    """Return means over rows of the ranks' hook results; called on all ranks.

    Ranks without rows may lack names. The names of all other ranks count.
    """
    if collective.size == 1:
        return {name: float(value) for name, value in values.items()}
    own = json.dumps([rows, {name: float(value) for name, value in values.items()}]).encode()
    told = [json.loads(bytes(message)) for message in collective.all_gather(own)]
    found: dict[str, list[float]] = {}
    for count, theirs in told:
        for name, value in theirs.items():
            sums = found.setdefault(name, [0.0, 0.0])
            if count:
                sums[0] += value * count
                sums[1] += count
    return {name: total / count if count else 0.0 for name, (total, count) in found.items()}


def groups(count: int, size: int) -> Iterator[int]:
    """Yield the number of steps of each update in an epoch."""
    for first in range(0, count, size):
        yield min(size, count - first)
