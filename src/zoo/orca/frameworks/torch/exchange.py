"""Sums gradients over all workers, once for each update.

::

    gradients of one rank     are sent as                        come out as
    dense                     one flat buffer, summed in place   views of the buffer
    sparse                    rows, or part of a buffer          sparse, all ranks' rows

The buffer ends with a mark for each parameter. A parameter that no rank used keeps no gradient, so
its optimizer leaves it alone. A parameter that some rank used gets the sum on all ranks.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.gradients.fused_sum import FusedSum
from zoo.orca.frameworks.gradients.layout import GradientSpec
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
        self._dense: list[_Dense] | None = None
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
        self._dense = [_Dense(ps, wire, self._collective) for wire, ps in groups.items()]
        self._sparse = _Sparse(rows, self._collective) if rows else None


def _is_sparse(gradient: torch.Tensor | None) -> bool:
    return gradient is not None and gradient.is_sparse


class _Dense:
    """Gradients that are sent in one buffer: values, marks, divisor."""

    def __init__(
        self, parameters: list[torch.nn.Parameter], dtype: torch.dtype, collective: Collective
    ) -> None:
        self._parameters, self._collective = parameters, collective
        count = sum(parameter.numel() for parameter in parameters)
        device = parameters[0].device if parameters else torch.device("cpu")
        self._flat = torch.zeros(count + len(parameters) + 1, dtype=dtype, device=device)
        self._host = self._flat if device.type == "cpu" else self._flat.cpu().pin_memory()
        self._values = self._flat[:count]
        self._marks = self._flat[count:-1]
        self._host_marks = self._host[count:-1].numpy()
        pieces = self._values.split([parameter.numel() for parameter in parameters])
        self._views = [v.view(p.shape) for v, p in zip(pieces, parameters, strict=True)]
        self._is_plain = all(parameter.dtype == dtype for parameter in parameters)
        #: Marks and divisor keep their digits where values do not: a divisor weighs all gradients.
        self._exact: Collective | None = getattr(collective, "exact", None)
        self._reduce_tensor = getattr(collective, "all_reduce_tensor", None)

    @property
    def divided_by(self) -> float:
        """The divisor of the last sums."""
        return float(at_least_some(self._flat[-1]))

    def exchange(self, scale: float, divisor: torch.Tensor | None) -> None:
        """Sum the gradients and distribute the results."""
        gradients = [parameter.grad for parameter in self._parameters]
        missing = [k for k, gradient in enumerate(gradients) if gradient is None]
        self._put(gradients, missing)
        if scale != 1.0:
            self._values.mul_(scale)
        self._flat[-1] = 0.0 if divisor is None else divisor
        self._sum()
        if divisor is not None:
            self._values.div_(at_least_some(self._flat[-1]))
        absent = self._host_marks == 0
        some = bool(absent.any())
        for k, (parameter, view) in enumerate(zip(self._parameters, self._views, strict=True)):
            if some and absent[k]:
                parameter.grad = None
            else:
                parameter.grad = view if self._is_plain else view.to(parameter.dtype)

    def _put(self, gradients: list[torch.Tensor | None], missing: list[int]) -> None:
        views = self._views
        self._marks.fill_(1.0)
        if missing:
            given = zip(views, gradients, strict=True)
            views = [view for view, gradient in given if gradient is not None]
            for k in missing:
                self._views[k].zero_()
                self._marks[k] = 0.0
        there = [gradient for gradient in gradients if gradient is not None]
        if there:
            dense = [g.to_dense() if g.is_sparse else g for g in there]
            torch._foreach_copy_(views, dense)

    def _sum(self) -> None:
        if self._reduce_tensor is not None:
            self._reduce_tensor(self._flat)
            if self._host is not self._flat:
                self._host.copy_(self._flat)
        elif self._host is self._flat:
            self._sum_here(self._flat.numpy())
        else:
            self._host.copy_(self._flat)
            self._sum_here(self._host.numpy())
            self._flat.copy_(self._host)

    def _sum_here(self, flat: NDArray[Any]) -> None:
        if self._exact is None:
            self._collective.all_reduce(flat)
            return
        count = len(self._values)
        self._collective.all_reduce(flat[:count])
        self._exact.all_reduce(flat[count:])


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


def at_least_some(divisor: torch.Tensor) -> torch.Tensor:
    """Return a mean's divisor, or 1 if no label counts: then all gradients are 0, as in PyTorch."""
    return torch.where(divisor == 0, torch.ones_like(divisor), divisor)


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
