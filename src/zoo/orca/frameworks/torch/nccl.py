"""The third kind of collective: sums of tensors that stay on their GPUs, through NCCL.

::

    Nccl
      torch.distributed      sums tensors on their device
      Ring, or Alone         everything else: arrays, bytes, barriers; the rendezvous for the
                             above; and whether all ranks are still there

NCCL's own connections are not authenticated and cannot be. It needs a network that only trusted
machines reach, as under every launcher. So there is no NCCL where a job's data must be encrypted
and leave the host: sums go through the ring. We protect how NCCL's ranks find each other. The store
for that listens on the ring's interface. Its address, and an unguessable prefix of all its keys, go
through the ring, whose links are authenticated.

A rank that dies while others wait inside NCCL also closes its links of the ring. The heartbeat
thread (`zoo.orca.worker.child.runner`) notices it and ends the process. So nothing hangs for as
long as NCCL would wait.
"""

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from zoo.orca.errors import ModelError, PeerLostError
from zoo.orca.frameworks.common.process_group import meeting, same_gpu_twice
from zoo.orca.worker.collective.protocol import Collective, Forwarding
from zoo.orca.worker.collective.ring import Ring

if TYPE_CHECKING:
    import torch

_CONNECT_SECONDS = 60.0
#: A peer's end reaches the ring's links at about the same time as torch's.
_NOTICE_SECONDS = 2.0
_POLL_SECONDS = 50e-6


class Nccl(Forwarding):
    """A collective that also sums tensors in place on their device; made by :meth:`connect`.

    The base does everything else, and stays open when this is closed. Only one thread at a time may
    call operations. Any thread may call `abort`.
    """

    def __init__(self, base: Collective, group: "torch.distributed.ProcessGroup | None") -> None:
        super().__init__(base)
        self._group = group
        self._failed = False

    @classmethod
    def connect(
        cls, base: Collective, *, backend: str = "nccl", timeout: float = _CONNECT_SECONDS
    ) -> "Nccl":
        """Connect the ranks of `base` on their GPUs as well; must be called on all ranks.

        The result is torch.distributed's default group until it is closed, so that modules such as
        `torch.nn.SyncBatchNorm` find it. There is no group for a single rank, if several ranks
        share a GPU, which NCCL does not support, or if data must leave the host encrypted. Then
        sums go through the base.

        Parameters
        ----------
        base : Collective
            A ring, or `Alone`.
        backend : str
            A backend of torch.distributed; "gloo" sums tensors on CPUs.
        timeout : float
            Seconds to wait for the last rank. Operations may take as long as the ring's.

        Raises
        ------
        PeerLostError
            A rank did not come in time.
        ModelError
            The model's code has made its own default group.
        """
        if not isinstance(base, Ring) or base.needs_encryption:
            return cls(base, None)
        if backend == "nccl" and same_gpu_twice(base):
            return cls(base, None)
        import torch
        from torch import distributed

        if distributed.is_initialized():
            raise ModelError(
                "torch.distributed has a default group already, and the workers are Orca's\n"
                "Leave init_process_group out of the model's code"
            )
        try:
            distributed.init_process_group(
                backend,
                store=meeting(base, timeout).store,
                rank=base.rank,
                world_size=base.size,
                timeout=timedelta(seconds=base.timeout),
                # With a device given, NCCL connects now, not in the first step.
                device_id=torch.device("cuda", 0) if backend == "nccl" else None,
            )
        except RuntimeError as error:
            base.abort(f"torch.distributed: {error}")
            raise PeerLostError(f"rank {base.rank} could not join {backend}: {error}") from error
        return cls(base, distributed.group.WORLD)

    @property
    def direct(self) -> bool:
        """Whether tensors are summed on their device, not through this process's memory."""
        return self._group is not None

    def all_reduce_tensor(self, tensor: "torch.Tensor") -> None:
        """Replace `tensor` (contiguous) on every rank by the element-wise sum over ranks.

        Must be called on all ranks. On a GPU it runs in order in the current stream and may return
        before it is done, as any GPU operation.

        Raises
        ------
        PeerLostError
            A peer is gone.
        """
        if self._group is None:
            self._through_the_base(tensor)
            return
        from torch import distributed

        try:
            work = distributed.all_reduce(tensor, group=self._group, async_op=True)
            while not (tensor.is_cuda or work.is_completed() or self._failed):
                time.sleep(_POLL_SECONDS)  # gloo's own wait ignores abort
            if self._failed:
                raise RuntimeError("this rank has left the group")
            # no limit: it is done, or a GPU's, for which only its stream waits
            work.wait()
        except RuntimeError as error:
            lost = self._lost()
            self.abort(f"torch.distributed: {error}")
            if lost is None:  # not a peer's fault: no memory, a type that cannot be summed
                raise
            raise PeerLostError(str(lost)) from error

    def all_reduce(self, array: NDArray[Any]) -> None:
        """Replace `array` on every rank by the sum over ranks, through the base."""
        self._base.all_reduce(array)

    def abort(self, reason: str = "aborted by this process") -> None:
        """Make the current operation, in whatever thread, and all later ones fail promptly."""
        self._failed = True
        if isinstance(self._base, Ring):
            self._base.abort(reason)
        if self._group is not None:
            self._group.abort()

    def close(self) -> None:
        """Leave the group, so that the next job can make one; the base stays open."""
        group, self._group = self._group, None
        if group is None:
            return
        from torch import distributed

        if self._failed or self._lost(0.0) is not None:
            group.abort()  # an orderly end waits for unfinished operations
        distributed.destroy_process_group()

    def _lost(self, seconds: float = _NOTICE_SECONDS) -> PeerLostError | None:
        """Return why the ring has failed, if it does within the given seconds."""
        deadline = time.monotonic() + seconds
        while isinstance(self._base, Ring):
            if (lost := self._base.lost_peer()) is not None or time.monotonic() >= deadline:
                return lost
            time.sleep(0.02)
        return None

    def _through_the_base(self, tensor: "torch.Tensor") -> None:
        if self.size == 1:
            return
        import torch

        # numpy has no bfloat16, and float16 loses too much in each addition for the bytes it saves.
        half = tensor.dtype in (torch.float16, torch.bfloat16)
        host = tensor.detach().to("cpu", torch.float32 if half else tensor.dtype, copy=True)
        self._base.all_reduce(host.numpy())
        with torch.no_grad():
            tensor.copy_(host)
