"""Sums gradients over all workers, once for each update.

::

    gradients of one rank     are sent as                        come out as
    dense                     one flat buffer, summed in place   views of the buffer
    sparse                    rows, or part of a buffer          sparse, all ranks' rows

The buffer ends with a mark for each parameter. A parameter that no rank used keeps no gradient, so
its optimizer leaves it alone. A parameter that some rank used gets the sum on all ranks.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.gradients.fused_sum import FusedSum
from zoo.orca.frameworks.gradients.layout import GradientSpec
from zoo.orca.frameworks.torch.dense import Dense
from zoo.orca.frameworks.torch.overlap import Overlapped, agreed_order, pays
from zoo.orca.worker.collective.protocol import Collective

_HALVES = (torch.float16, torch.bfloat16)


class Gradients:
    """Sums the gradients of some parameters over ranks; made and called on all ranks.

    Parameters
    ----------
    parameters : sequence of torch.nn.Parameter
    sparse : sequence of bool
        For each parameter, whether its gradient is known to be sparse.
    collective : Collective
    overlap : bool
        Whether gradients may be sent before the backward pass has ended, which then knows their
        final values: nothing scales them, and the model makes no calls of the collective's.

    Attributes
    ----------
    seconds : float
        Time spent so far, including the wait for the slowest rank.

    Raises
    ------
    ModelError
        If a parameter is of a kind that cannot be summed.
    """

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        sparse: Sequence[bool],
        collective: Collective,
        *,
        overlap: bool = False,
    ) -> None:
        self._all = list(parameters)
        self._known_sparse = list(sparse)
        self._collective = collective
        for parameter in self._all:
            if parameter.is_complex():
                raise ModelError(
                    "the model has complex parameters, and several workers train real ones only\n"
                    "Make them pairs of real ones (torch.view_as_real), or train with one worker"
                )
        count = sum(
            parameter.numel()
            for parameter, is_sparse in zip(self._all, sparse, strict=True)
            if not is_sparse and parameter.device.type == "cpu"
        )
        self._may_overlap = overlap and pays(collective, count)
        self._overlapped: Overlapped | None = None
        self._numbers: dict[int, int] = {}
        self._is_armed = False
        self._seen: list[int] = []
        self._dense: list[Dense] | None = None
        self._sparse: _Sparse | None = None
        self.seconds = 0.0

    def __call__(
        self, *, idle: bool, scale: float = 1.0, divisor: torch.Tensor | None = None
    ) -> None:
        """Replace every parameter's gradient by the sum over ranks.

        Parameters
        ----------
        idle : bool
            Whether this rank had no rows. Then its gradients, if any, do not count.
        scale : float
            The factor for this rank's gradients.
        divisor : scalar tensor or None
            This rank's part of the sum's divisor; None on all ranks or none.
        """
        began = time.perf_counter()
        self._is_armed = False
        if idle:
            for parameter in self._all:
                parameter.grad = None
        if self._dense is None:
            self._agree()
        for group in self._dense or ():
            group.exchange(scale, divisor)
        if self._sparse is not None:
            by = self._dense[0].divided_by if self._dense and divisor is not None else 1.0
            self._sparse.exchange(scale / by)
        self.seconds += time.perf_counter() - began

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Let gradients be sent while others are computed, in the steps within."""
        if not self._may_overlap:
            yield
            return
        hooks = [
            parameter.register_post_accumulate_grad_hook(partial(self._ready, number))
            for number, parameter in enumerate(self._all)
            if parameter.requires_grad  # a callback may have frozen it
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            if self._overlapped is not None:
                self._overlapped.stop()

    def begin_last(self) -> None:
        """Note that the next backward pass is the last one before the sum."""
        self._is_armed = self._may_overlap

    def _ready(self, number: int, parameter: torch.Tensor) -> None:
        """Take note of a gradient that the backward pass has made."""
        if not self._is_armed:
            return
        if self._overlapped is None:
            self._seen.append(number)
        elif number in self._numbers:
            self._overlapped.ready(self._numbers[number])

    def _agree(self) -> None:
        """Agree with all ranks, once, on which gradients are sparse."""
        pairs = zip(self._all, self._known_sparse, strict=True)
        seen = [known or _is_sparse(p.grad) for p, known in pairs]
        marks = np.array(seen, np.int64)
        self._collective.all_reduce(marks)
        groups: dict[torch.dtype, list[torch.nn.Parameter]] = {torch.float32: []}
        rows = []
        for parameter, sparse in zip(self._all, marks.tolist(), strict=True):
            if sparse:
                rows.append(parameter)
            else:
                wire = torch.float32 if parameter.dtype in _HALVES else parameter.dtype
                groups.setdefault(wire, []).append(parameter)
        # The first group exists even if it is empty, because it carries the divisor.
        self._dense = [Dense(ps, wire, self._collective) for wire, ps in groups.items()]
        if self._may_overlap:
            self._dense[0] = self._overlapped = self._in_order(groups[torch.float32])
        self._sparse = _Sparse(rows, self._collective) if rows else None

    def _in_order(self, parameters: list[torch.nn.Parameter]) -> Overlapped:
        """Return a group in the order in which gradients become ready; called on all ranks."""
        members = {id(parameter) for parameter in parameters}
        order = agreed_order(self._seen, len(self._all), self._collective)
        order = [number for number in order if id(self._all[number]) in members]
        self._numbers = {number: place for place, number in enumerate(order)}
        ordered = [self._all[number] for number in order]
        return Overlapped(ordered, torch.float32, self._collective)


def _is_sparse(gradient: torch.Tensor | None) -> bool:
    return gradient is not None and gradient.is_sparse


class _Sparse:
    """Gradients that are sent as rows with their numbers."""

    def __init__(self, parameters: list[torch.nn.Parameter], collective: Collective) -> None:
        self._parameters = parameters
        self._dtypes = [
            torch.float64 if p.dtype == torch.float64 else torch.float32 for p in parameters
        ]
        specs = [
            GradientSpec(
                shape=tuple(p.shape), dtype=np.dtype(str(d).removeprefix("torch.")), sparse=True
            )
            for p, d in zip(parameters, self._dtypes, strict=True)
        ]
        self._fused = FusedSum(collective, specs, keep_rows=False)

    def exchange(self, scale: float) -> None:
        """Sum and distribute; a parameter that no rank used gets a gradient without rows."""
        arrays: list[Any] = []
        for parameter, dtype in zip(self._parameters, self._dtypes, strict=True):
            values, indices = _rows(parameter, dtype)
            arrays += [(values * scale).numpy(), indices.numpy()]
        summed = self._fused(1, 1, *arrays)
        for k, parameter in enumerate(self._parameters):
            values = torch.from_numpy(summed[2 * k]).to(parameter.device, parameter.dtype)
            indices = torch.from_numpy(summed[2 * k + 1]).to(parameter.device)
            parameter.grad = torch.sparse_coo_tensor(indices[None], values, parameter.shape)


def _rows(parameter: torch.nn.Parameter, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a gradient's rows and their numbers in host memory."""
    gradient = parameter.grad
    if gradient is None:
        return torch.zeros(0, *parameter.shape[1:], dtype=dtype), torch.zeros(0, dtype=torch.int64)
    if not gradient.is_sparse:
        return gradient.to("cpu", dtype), torch.arange(len(parameter))
    gradient = gradient.coalesce()
    return gradient.values().to("cpu", dtype), gradient.indices()[0].cpu()


def clip_norm(parameters: Sequence[torch.nn.Parameter], most: float) -> None:
    """Scale gradients, including sparse ones, so that their joint norm is at most `most`."""
    given = [parameter for parameter in parameters if parameter.grad is not None]
    if not any(parameter.grad.is_sparse for parameter in given):
        torch.nn.utils.clip_grad_norm_(given, most)
        return
    for parameter in given:
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
    values = [p.grad.values() if p.grad.is_sparse else p.grad for p in given]
    total = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(v) for v in values]))
    factor = torch.clamp(most / (total + 1e-6), max=1.0)
    for value in values:
        value.mul_(factor)
