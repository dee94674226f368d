"""Dense gradients in one buffer, summed at once."""

from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray

from zoo.orca.worker.collective.protocol import Collective

Array: TypeAlias = NDArray[Any]


class Dense:
    """Gradients that are sent in one buffer: values, then marks, a request to repeat, divisor.

    The rest after the values keeps its digits where values do not: a divisor weighs all gradients.
    """

    def __init__(
        self, parameters: list[torch.nn.Parameter], dtype: torch.dtype, collective: Collective
    ) -> None:
        self._parameters, self._collective = parameters, collective
        count = sum(parameter.numel() for parameter in parameters)
        device = parameters[0].device if parameters else torch.device("cpu")
        self._flat = torch.zeros(count + len(parameters) + 2, dtype=dtype, device=device)
        self._host = self._flat if device.type == "cpu" else self._flat.cpu().pin_memory()
        self._values = self._flat[:count]
        self._marks = self._flat[count:-2]
        self._host_marks = self._host[count:-2].numpy()
        pieces = self._values.split([parameter.numel() for parameter in parameters])
        self._views = [v.view(p.shape) for v, p in zip(pieces, parameters, strict=True)]
        self._is_plain = all(parameter.dtype == dtype for parameter in parameters)
        self._exact: Collective = getattr(collective, "exact", collective)
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
        self._set_rest(divisor)
        self._sum()
        self._hand_out(divisor)

    def _set_rest(self, divisor: torch.Tensor | None, *, again: bool = False) -> None:
        self._flat[-2] = float(again)
        self._flat[-1] = 0.0 if divisor is None else divisor

    @property
    def _must_repeat(self) -> bool:
        """Whether any rank has asked to."""
        return bool(self._host[-2] != 0)

    def _hand_out(self, divisor: torch.Tensor | None) -> None:
        """Make the sums the parameters' gradients."""
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
        if self._exact is self._collective:
            self._collective.all_reduce(flat)
            return
        self._collective.all_reduce(flat[: len(self._values)])
        self._sum_rest()

    def _sum_rest(self) -> None:
        """Sum what follows the values, in this process's memory."""
        self._exact.all_reduce(self._host[len(self._values) :].numpy())


def at_least_some(divisor: torch.Tensor) -> torch.Tensor:
    """Return a mean's divisor, or 1 if no label counts: then all gradients are 0, as in PyTorch."""
    return torch.where(divisor == 0, torch.ones_like(divisor), divisor)
