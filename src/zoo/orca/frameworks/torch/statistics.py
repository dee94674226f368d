"""Batch normalisation statistics on several workers: averaged, or those of the global batch."""

import contextlib
import types
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from zoo.orca.frameworks.torch.saving.state import to_numpy
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.worker.collective.protocol import Collective


class Buffers:
    """Keeps a model's buffers equal on all ranks, by averaging those that changed.

    Made and called on all ranks, while the ranks' buffers are equal. A buffer of whole numbers
    takes the values of the rank with the most rows.
    """

    def __init__(self, model: torch.nn.Module, collective: Collective, plan: Plan) -> None:
        self._model, self._collective, self._plan = model, collective, plan
        self._seen = self._marks()

    def average(self) -> None:
        """Replace changed buffers by their mean, weighted by the ranks' rows."""
        buffers = list(self._model.buffers())
        if self._collective.size == 1 or not buffers:
            return
        marks = self._marks()
        changed = np.array([a != b for a, b in zip(marks, self._seen, strict=True)], np.int64)
        self._collective.all_reduce(changed)
        counts = self._plan.counts  # of a user's loaders, those so far
        weight, fullest = counts[self._collective.rank] / sum(counts), int(np.argmax(counts))
        for buffer, count in zip(buffers, changed.tolist(), strict=True):
            if count and buffer.is_floating_point():
                own = to_numpy(buffer).astype(np.float64) * weight
                # A rank without rows has not trained. Its values, NaN or not, must not count.
                total = own if weight else np.zeros(own.shape)
                total = np.ascontiguousarray(total).reshape(-1)
                self._collective.all_reduce(total)
                buffer.copy_(torch.from_numpy(total.reshape(own.shape)))
            elif count:
                is_root = self._collective.rank == fullest
                data = to_numpy(buffer).tobytes() if is_root else None
                received = bytes(self._collective.broadcast(data, fullest))
                value = np.frombuffer(received, to_numpy(buffer).dtype).reshape(buffer.shape)
                buffer.copy_(torch.from_numpy(value.copy()))
        self._seen = self._marks()

    def _marks(self) -> list[int]:
        if self._collective.size == 1:
            return []
        return [zlib.crc32(to_numpy(buffer).tobytes()) for buffer in self._model.buffers()]


class Sync:
    """Makes batch normalisation use the statistics of the global batch.

    It does so in all steps if wanted. Otherwise it does so in steps in which some rank has fewer
    than two rows, and so no statistics of its own. All ranks know these steps from the plan.

    Attributes
    ----------
    active : bool
        Whether the current step uses them.
    idle : bool
        Whether this rank's batch is a row that does not count.
    scale : float
        The factor for this rank's gradients when they are summed.
    """

    def __init__(
        self, modules: list[torch.nn.Module], collective: Collective, plan: Plan, wanted: bool
    ) -> None:
        self.collective = collective
        self.active = wanted
        self.idle = False
        self.scale = 1.0
        self._wanted = wanted
        self._plan = plan
        for module in modules:
            module.forward = types.MethodType(_forward_with(self), module)

    def begin(self, step: int, rows: int, scale: float) -> None:
        """Begin a step, numbered over all passes, with this rank's row count."""
        self.active = self._wanted or self._plan.fewest(step) < 2
        self.idle = rows == 0
        self.scale = scale

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sums over ranks; called on all ranks in the same order."""
        array = values.cpu().numpy()
        self.collective.all_reduce(array)
        return torch.from_numpy(array).to(values.device)


def batch_norms(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return a model's batch normalisation modules."""
    kind = torch.nn.modules.batchnorm._BatchNorm
    return [module for module in model.modules() if isinstance(module, kind)]


@contextlib.contextmanager
def undisturbed(model: torch.nn.Module, wanted: bool) -> Iterator[None]:
    """If wanted, undo what a row that does not count does to a model's buffers.

    Batch normalisation statistics stay: in such a step they are the global batch's.
    """
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    if wanted:
        own = {id(buffer) for module in batch_norms(model) for buffer in module.buffers()}
        kept = [(one, one.clone()) for one in model.buffers() if id(one) not in own]
    yield
    for buffer, value in kept:
        buffer.copy_(value)


def _forward_with(sync: Sync) -> Any:
    def forward(self: torch.nn.Module, input: torch.Tensor) -> torch.Tensor:
        if not (self.training and sync.active):
            return type(self).forward(self, input)
        result: torch.Tensor = _Normalised.apply(
            input, self.weight, self.bias, self.eps, sync, self
        )
        return result

    return forward


class _Normalised(torch.autograd.Function):  # type: ignore[misc]
    """Normalises by the mean and variance over all ranks' rows."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
        sync: Sync,
        module: torch.nn.Module,
    ) -> torch.Tensor:
        """Sum counts, values and squares over ranks; normalise this rank's rows."""
        axes = [0, *range(2, x.dim())]
        channels = x.shape[1]
        wide = x.detach().to(torch.float64)
        own = torch.zeros(2 * channels + 1, dtype=torch.float64, device=x.device)
        if not sync.idle:
            own[:channels] = wide.sum(axes)
            own[channels:-1] = (wide * wide).sum(axes)
            own[-1] = x.numel() // channels
        total = sync.sum(own)
        count = total[-1]
        mean = total[:channels] / count
        variance = (total[channels:-1] / count - mean * mean).clamp_min(0.0)
        _track(module, mean, variance, float(count))
        shape = [1, channels, *[1] * (x.dim() - 2)]
        inverse = (variance + eps).rsqrt()
        normal = ((wide - mean.view(shape)) * inverse.view(shape)).to(x.dtype)
        ctx.save_for_backward(normal, inverse, weight)
        ctx.sync, ctx.count, ctx.axes, ctx.shape = sync, count, axes, shape
        if weight is None or bias is None:
            return normal
        return normal * weight.view(shape).to(x.dtype) + bias.view(shape).to(x.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, dy: torch.Tensor) -> Any:
        """Sum over ranks the values that each channel's gradient depends on."""
        normal, inverse, weight = ctx.saved_tensors
        sync, shape, channels = ctx.sync, ctx.shape, ctx.shape[1]
        wide, hat = dy.to(torch.float64), normal.to(torch.float64)
        sums = torch.zeros(2 * channels, dtype=torch.float64, device=dy.device)
        if not sync.idle:
            sums[:channels] = wide.sum(ctx.axes)
            sums[channels:] = (wide * hat).sum(ctx.axes)
        own = sums.clone()
        # Ranks' losses are means over their own rows, so the sum weights them by their share.
        total = sync.sum(sums * sync.scale) / ctx.count
        factor = inverse if weight is None else inverse * weight.to(torch.float64)
        if sync.idle:
            dx = torch.zeros_like(dy)
        else:
            shared = (
                total[:channels].view(shape) + hat * total[channels:].view(shape)
            ) / sync.scale
            dx = (factor.view(shape) * (wide - shared)).to(dy.dtype)
        if weight is None:
            return dx, None, None, None, None, None
        gradients = own.to(weight.dtype)
        return dx, gradients[channels:], gradients[:channels], None, None, None


def _track(
    module: torch.nn.Module, mean: torch.Tensor, variance: torch.Tensor, count: float
) -> None:
    """Update the running statistics, which are the same on all ranks."""
    if not module.track_running_stats or module.running_mean is None:
        return
    module.num_batches_tracked.add_(1)
    rate = module.momentum
    if rate is None:
        rate = 1.0 / float(module.num_batches_tracked)
    unbiased = variance * count / max(count - 1.0, 1.0)
    module.running_mean.lerp_(mean.to(module.running_mean.dtype), rate)
    module.running_var.lerp_(unbiased.to(module.running_var.dtype), rate)
