"""Batches of a user's loaders, in the form of `feed.Batch`.

Nothing runs ahead of the training: a DataLoader has processes of its own for that, and without them
it draws its random numbers between those of the model, as in a plain loop.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from zoo.orca.errors import DataError, ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.creators.signature import leaves, mapped
from zoo.orca.frameworks.creators.stream import LoaderStep, Stream
from zoo.orca.frameworks.torch.device import moved
from zoo.orca.frameworks.torch.feed import Batch
from zoo.orca.frameworks.torch.row_shapes import SAMPLE_ROWS
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created

_WAY = "Let the loader return (x, y) or (x, y, w), or (x1, x2, ..., y)"


class LoaderFeed:
    """Batches of one rank's loader; made on all ranks.

    Parameters
    ----------
    created : Created
    collective : Collective
    forward : callable or None
        The model's, whose arguments tell features from labels; None if hooks call the model.
    device : torch.device

    Attributes
    ----------
    plan : LivePlan
    agrees : bool
        Whether ranks agree on the steps of an evaluation, because their loss needs it.
    over_passes : bool
        Whether steps go on with the next pass where one ends.
    """

    def __init__(
        self,
        created: Created,
        collective: Collective,
        forward: Callable[..., Structure] | None,
        device: torch.device,
    ) -> None:
        split = TorchParts(forward, created)
        self._stream = Stream(created, collective, split, _zeros)
        self.plan, self._device = self._stream.plan, device
        self._collective, self._rows = collective, 0
        self._trains = created.role == "train"
        self.agrees = self.over_passes = False
        if not self._trains:
            self._stream.sample()  # on all ranks, before one of them needs it

    def sample(self) -> Batch:
        """Return a batch of two rows: the first two, or a single one twice; on all ranks."""
        parts = self._stream.sample()

        def two(tensor: torch.Tensor) -> torch.Tensor:
            return tensor[torch.arange(SAMPLE_ROWS) % len(tensor)]

        return self._batch(LoaderStep(mapped(parts, two), SAMPLE_ROWS, SAMPLE_ROWS))

    def take(self, start: int, count: int) -> Iterator[Batch]:
        """Yield up to `count` steps: of training the next ones, else from the first one on."""
        if not self._trains:
            self._stream.restart()
            self._rows = 0
        agree = self._trains or self.agrees
        for step in self._stream.take(count, over_passes=self.over_passes, agree=agree):
            self._rows += step.rows
            yield self._batch(step)

    @property
    def is_dealt(self) -> bool:
        """Whether ranks' rows are dealt out of one data set."""
        return self._stream.loader.is_dealt

    def rows_of_all(self) -> int:
        """Return the rows of all ranks since the last start; called on all ranks."""
        told = np.array([self._rows], np.int64)
        self._collective.all_reduce(told)
        return int(told[0])

    def close(self) -> None:
        """End the loader's processes."""
        self._stream.close()

    def _batch(self, step: LoaderStep) -> Batch:
        parts = step.parts
        if self._device.type != "cpu":
            parts = moved(parts, self._device)
        return Batch(parts["x"], parts.get("y"), parts.get("w"), step.rows, step.of)


class TorchParts:
    """Splits a loader's batches into features, target and weights.

    A batch is ``(x, y)`` or ``(x, y, w)`` if `x` is a tuple, a list or a dict, or if the model
    takes one argument; else it is ``(*features, target)``.
    """

    def __init__(self, forward: Callable[..., Structure] | None, created: Created) -> None:
        self._least, self._most = _arguments(forward)
        self._argument, self._predicts = created.argument, created.role == "predict"

    def __call__(self, batch: Structure) -> dict[str, Any]:
        """Return the parts, as tensors."""
        if self._predicts:
            return {"x": _features(batch)}
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            kind = type(batch).__qualname__
            shown = f"{kind} of {len(batch)}" if isinstance(batch, (tuple, list)) else kind
            raise DataError(f"a batch of {self._argument} is a {shown}, not (x, y)\n{_WAY}")
        members = [_tensors(one) for one in batch]
        nested = isinstance(members[0], (tuple, list, Mapping))
        if nested or len(members) == 2:
            return self._named(_features(members[0]), members[1:])
        count = self._count(len(members))
        return self._named(tuple(members[:count]), members[count:])

    def _count(self, length: int) -> int:
        """Return how many members of a flat batch are features."""
        fits = [k for k in (length - 1, length - 2) if self._least <= k <= self._most]
        if len(fits) == 2 and self._most < 1 << 20:
            raise ModelError(
                f"a batch of {self._argument} has {length} members, and the model takes {fits[1]} "
                f"or {fits[0]} features: the last one may be the weights\nTell which: return "
                "((x1, x2), y), or ((x,), y, w)"
            )
        if not fits:
            raise ModelError(
                f"a batch of {self._argument} has {length} members, and the model takes "
                f"{self._least}{f' to {self._most}' if self._most > self._least else ''} "
                f"features\n{_WAY}"
            )
        return fits[0]

    def _named(self, features: Structure, rest: list[Structure]) -> dict[str, Any]:
        if len(rest) > 2:
            raise DataError(
                f"a batch of {self._argument} has {1 + len(rest)} members behind its features in "
                f"one\n{_WAY}"
            )
        parts = {"x": features, "y": _target(rest[0])}
        if len(rest) > 1 and rest[1] is not None:
            parts["w"] = torch.as_tensor(rest[1]).to(torch.float32).reshape(-1)
        return parts


def _arguments(forward: Callable[..., Structure] | None) -> tuple[int, int]:
    """Return the fewest and the most features that a model takes by position."""
    if forward is None:
        return 1, 1 << 20
    try:
        parameters = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        return 1, 1 << 20
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    own = [p for p in parameters if p.kind in plain]
    least = sum(p.default is inspect.Parameter.empty for p in own)
    any_number = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    return least, 1 << 20 if any_number else len(own)


def _features(value: Structure) -> Structure:
    """Return features as the model is called with them: a tuple, or a dict by keyword."""
    value = _tensors(value)
    if isinstance(value, Mapping):
        return dict(value)
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _tensors(value: Structure) -> Structure:
    """Return a nest of tensors; what is one already, as in most batches, costs nothing."""
    return value if isinstance(value, torch.Tensor) else mapped(value, torch.as_tensor)


def _target(value: Structure) -> Structure:
    return tuple(value) if isinstance(value, list) else value


def _zeros(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    return torch.zeros(shape, dtype=getattr(torch, dtype))


def spec_of(batch: Batch) -> FeatureSpec:
    """Return names for a batch's tensors, for errors."""

    def columns(name: str, value: Structure) -> tuple[ColumnSpec, ...]:
        return tuple(
            ColumnSpec(
                name=path,
                dtype=str(tensor.dtype).removeprefix("torch."),
                shape=tuple(tensor.shape[1:]),
            )
            for path, tensor in leaves(value, name)
        )

    features = batch.features
    if isinstance(features, tuple) and len(features) == 1:
        features = features[0]
    keys = tuple(batch.target) if isinstance(batch.target, dict) else None
    return FeatureSpec(
        features=columns("x", features), labels=columns("y", batch.target), label_keys=keys
    )
