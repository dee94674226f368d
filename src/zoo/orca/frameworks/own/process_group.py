"""PyTorch's process group over the workers of a loop of the user's own."""

import contextlib
import os
import sys
from datetime import timedelta
from types import TracebackType

from zoo.orca.errors import OrcaError, PeerLostError, WorkerError
from zoo.orca.frameworks.common.process_group import Meeting, meeting, same_gpu_twice
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.collective.ring import Ring

_CONNECT_SECONDS = 60.0
_ALONE_SECONDS = 1800.0
#: What gloo and NCCL say of peers.
_OF_CONNECTIONS = ("gloo", "nccl", "by peer", "socket", "broken pipe")


class TorchGroup:
    """The default process group, from its making to `close`; made on all ranks.

    Parameters
    ----------
    collective : Collective
        A ring, or `Alone`.
    backend : str or None
        None: as the devices are.
    gpus : int
        GPUs of each worker.
    """

    def __init__(self, collective: Collective, backend: str | None, gpus: int) -> None:
        import torch
        from torch import distributed

        ring = collective if isinstance(collective, Ring) else None
        if ring is not None and ring.needs_encryption:
            raise WorkerError(
                "torch.distributed cannot encrypt what it sends to other hosts, and this session "
                "encrypts the workers' connections\nUse worker.all_reduce, whose connections are "
                "encrypted, or set spark.orca.encryption=false"
            )
        if distributed.is_initialized():
            raise WorkerError(
                "torch.distributed has a default group already\n"
                "Leave init_process_group out: worker.torch_distributed() calls it"
            )
        has_own = bool(gpus) and not (ring is not None and same_gpu_twice(ring))
        self.backend = backend or ("nccl" if has_own else "gloo")
        self._before = dict(os.environ)
        # Kept until all ranks are done: one may make another group over it.
        self._met = meeting(ring, _CONNECT_SECONDS)
        self._is_open = True
        os.environ.update(_variables(collective.rank, collective.size, self._met))
        if not gpus:
            # Otherwise Accelerate, and so Hugging Face's Trainer, would see no group without GPUs,
            # and train a model of its own on each worker.
            os.environ["ACCELERATE_USE_CPU"] = "true"
        try:
            distributed.init_process_group(
                self.backend,
                store=self._met.store,
                rank=collective.rank,
                world_size=collective.size,
                timeout=timedelta(seconds=ring.timeout if ring is not None else _ALONE_SECONDS),
                # With a device given, NCCL connects now, not in the first step.
                device_id=torch.device("cuda", 0) if self.backend == "nccl" else None,
            )
        except RuntimeError as error:
            self.close(failed=True)
            if ring is not None:
                ring.abort(f"torch.distributed: {error}")
            raise PeerLostError(
                f"rank {collective.rank} could not join {self.backend}: {error}"
            ) from error

    def __enter__(self) -> "TorchGroup":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(failed=error is not None)

    def close(self, *, failed: bool = False) -> None:
        """Leave the group, and restore the environment; may be called more than once.

        Parameters
        ----------
        failed : bool
            Whether operations may be under way that no peer will end.
        """
        if not self._is_open:
            return
        self._is_open = False
        leave_group(failed=failed)
        for name in os.environ.keys() - self._before.keys():
            del os.environ[name]
        os.environ.update(self._before)


def leave_group(*, failed: bool) -> None:
    """Leave PyTorch's default process group, whoever made it, if there is one.

    Parameters
    ----------
    failed : bool
        Whether operations may be under way that no peer will end.
    """
    if not has_group():
        return
    distributed = sys.modules["torch.distributed"]
    if not failed:
        distributed.destroy_process_group()
        return
    with contextlib.suppress(RuntimeError):  # another error has been raised, and counts
        distributed.group.WORLD.abort()  # an orderly end waits for unfinished operations
        distributed.destroy_process_group()


def has_group() -> bool:
    """Whether there is a default process group of PyTorch's, whoever made it."""
    distributed = sys.modules.get("torch.distributed")
    return bool(distributed and distributed.is_available() and distributed.is_initialized())


def is_connections(error: BaseException) -> bool:
    """Whether an error is PyTorch's about the connection to a peer, and not of the user's code."""
    if not isinstance(error, RuntimeError) or isinstance(error, OrcaError):
        return False
    told = str(error).lower()
    return any(word in told for word in _OF_CONNECTIONS) or type(error).__name__.startswith("Dist")


def _variables(rank: int, size: int, met: Meeting) -> dict[str, str]:
    """Return the variables that ``torchrun`` sets, for a worker that is a node of its own."""
    one, all_ = str(rank), str(size)
    return {
        "MASTER_ADDR": met.host,
        "MASTER_PORT": str(met.port),
        "RANK": one,
        "WORLD_SIZE": all_,
        # A worker sees its own GPUs alone, so each is the first of its node.
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "NODE_RANK": one,
        "GROUP_RANK": one,
        "GROUP_WORLD_SIZE": all_,
        "ROLE_RANK": one,
        "ROLE_WORLD_SIZE": all_,
        "TORCHELASTIC_RUN_ID": "zoo-orca",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        # The store is there already, and no rank makes another one at its port.
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
