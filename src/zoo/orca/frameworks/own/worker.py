"""What a user's own function gets: this worker, its rows, and its way to the others."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo.orca.errors import OrcaError, PeerLostError, WorkerError
from zoo.orca.frameworks.own.plain import Given, state_of
from zoo.orca.frameworks.own.process_group import TorchGroup
from zoo.orca.frameworks.own.rows import WorkerRows
from zoo.orca.frameworks.own.trees import summed
from zoo.orca.wire.messages.progress import Progress, Reported
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.nests import from_state
from zoo.orca.worker.collective.headers import AT_END, CALLED, HAS_RETURNED
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Keep

#: Seconds between two reports that are sent.
_REPORT_SECONDS = 0.2
_SAME_CALLS = (
    "Every worker makes the same calls in the same order: let none return, or leave its loop, "
    "before the others"
)


class Worker:
    """One worker of a run; made by `zoo.orca.learn.Distributor.run`, for its function.

    `all_reduce`, `all_gather`, `broadcast`, `barrier` and `torch_distributed` are calls that every
    worker makes, in the same order. Only one thread at a time may make them.
    """

    def __init__(
        self,
        collective: Collective,
        rows: WorkerRows | None,
        report: Callable[[Progress], None],
        keep: Keep | None,
        restored: State | None,
        gpus: int = 0,
    ) -> None:
        self._collective, self._rows, self._send, self._keep = collective, rows, report, keep
        self._gpus = gpus
        self._number = int(restored.meta["epoch"]) if restored is not None else 0
        self._restored = from_state(restored) if restored is not None else None
        self._sent = -math.inf
        self._pending: tuple[int, int, Mapping[str, float]] | None = None
        # All of them: a rank may still need the store of a group that this one has left.
        self._groups: list[TorchGroup] = []

    @property
    def rank(self) -> int:
        """The number of this worker, from 0 to ``size - 1``."""
        return self._collective.rank

    @property
    def size(self) -> int:
        """Number of workers."""
        return self._collective.size

    @property
    def rows(self) -> WorkerRows:
        """The rows of this worker.

        Raises
        ------
        WorkerError
            If the run has no DataFrame.
        """
        if self._rows is None:
            raise WorkerError(
                "worker.rows: this run has no rows, because it was given no DataFrame\n"
                "Write run(train, df, feature_cols=[...])"
            )
        return self._rows

    @property
    def restored(self) -> Any:
        """What the newest `checkpoint` of this run holds, on every worker; None at its beginning.

        It is there where Spark runs the workers again, and with ``run(resume=True)``.
        """
        return self._restored

    def all_reduce(self, value: Given, *, weight: float | None = None) -> Any:
        """Return the sum over all workers of a number, an array, or a nest of them.

        Every worker makes this call, with the same names, shapes and types.

        Parameters
        ----------
        value : number, array, or list, tuple or dict of such
            Arrays of numpy, PyTorch, JAX and TensorFlow, and JAX's own trees. `value` stays as it
            is.
        weight : float, optional
            Return the mean over the workers instead, in which this worker's value counts so much.
            ``weight=batch.rows`` makes the mean over a step's rows of each worker's mean over its
            own. A worker whose weight is 0 adds nothing, whatever its value.

        Returns
        -------
        object
            The same nest, of the same kinds of array. All workers get the same bits. Halves are
            added up as float32. A mean of whole numbers is float64.
        """
        if weight is not None and not (math.isfinite(weight) and weight >= 0):
            raise WorkerError(
                f"all_reduce: weight must be a number from 0, got {weight!r}\n"
                "Write weight=batch.rows"
            )
        with self._together():
            return summed(value, self._collective, weight)

    def all_gather(self, value: Given) -> list[Any]:
        """Return every worker's value, by rank. Every worker makes this call.

        A value is made of numbers, text, None, arrays, and lists, tuples and dicts of them; it may
        differ between workers in everything. Arrays arrive as numpy's.
        """
        state = state_of(value, "what all_gather was given").to_bytes()
        with self._together():
            told = self._collective.all_gather(state)
        return [from_state(State.from_bytes(bytes(one))) for one in told]

    def broadcast(self, value: Given = None, root: int = 0) -> Any:
        """Return the value of worker `root`; what the others give does not matter.

        Every worker makes this call. The value may be what `all_gather` takes.
        """
        if not isinstance(root, (int, np.integer)) or not 0 <= root < self.size:
            raise WorkerError(
                f"broadcast: there is no worker {root!r} among {self.size}\n"
                f"Write root=0, or another number up to {self.size - 1}"
            )
        state = None
        if root == self.rank:
            state = state_of(value, "what broadcast was given").to_bytes()
        with self._together():
            told = self._collective.broadcast(state, int(root))
        return from_state(State.from_bytes(bytes(told)))

    def barrier(self) -> None:
        """Return once every worker has called it."""
        with self._together():
            self._collective.barrier()

    def report(self, step: int, /, steps: int = 0, **metrics: float) -> None:
        """Show on the driver how far rank 0 is; other workers' reports are not shown.

        Call it as often as you like: what comes too often is left out.

        Parameters
        ----------
        step : int
            The steps that are done.
        steps : int
            Of how many in all, if that is known.
        **metrics : float
            Values to show.
        """
        if self.rank != 0:
            return
        self._pending = (int(step), int(steps), metrics)
        # A value may still be computed on a GPU, and is waited for only where it is shown.
        if time.monotonic() - self._sent >= _REPORT_SECONDS:
            self.end_report(is_last=False)

    def checkpoint(self, value: Given) -> None:
        """Write what a later attempt goes on from, in place of the one before; see `restored`.

        Rank 0 writes to the `model_dir` of the `Distributor`, while the function goes on. The
        newest two stay until the run has ended well. Others' calls do nothing.

        Parameters
        ----------
        value : object
            What `all_gather` takes; it is copied.

        Raises
        ------
        WorkerError
            If there is no `model_dir`, or the value cannot be written.
        """
        if self._keep is None:
            raise WorkerError(
                "worker.checkpoint needs a place for checkpoints\n"
                "Write Distributor(model_dir=...), a directory that driver and workers reach"
            )
        self._number += 1
        if self.rank == 0:
            self._keep(state_of(value, "what checkpoint was given", self._number))

    def torch_distributed(self, backend: str | None = None) -> TorchGroup:
        """Connect all workers in PyTorch's default process group. Every worker makes this call.

        The variables of the environment are those that ``torchrun`` sets, with each worker a node
        of its own: libraries that look for them, such as Lightning and Accelerate, find the
        workers. The group ends with the function, or with the block of ``with
        worker.torch_distributed():``.

        Parameters
        ----------
        backend : str, optional
            Of ``torch.distributed``; by default "nccl" for workers with a GPU each, else "gloo".

        Raises
        ------
        WorkerError
            If there is a group already, or the workers' connections must be encrypted.
        """
        with self._together():
            self._groups.append(TorchGroup(self._collective, backend, self._gpus))
        return self._groups[-1]

    @property
    def has_met(self) -> bool:
        """Whether the workers have met in a process group of PyTorch's; it may be over."""
        return bool(self._groups)

    def end_report(self, *, is_last: bool = True) -> None:
        """Send the newest report, if it was not sent; for the end of the function."""
        if self._pending is None:
            return
        (step, steps, metrics), self._pending = self._pending, None
        logs = {name: float(value) for name, value in metrics.items()}
        self._sent = time.monotonic()
        self._send(Reported(step=step, steps=steps, logs=logs, is_last=is_last))

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Say which worker did not make the same call."""
        try:
            yield
        except PeerLostError as error:
            raise explained(error, self.rank) from error.__cause__


def explained(error: PeerLostError, rank: int) -> OrcaError:
    """Return what a lost peer means on a rank: the calls that differ, if these are the cause.

    Of two ranks that make different calls, either may learn it first, and then the other only sees
    that its peer is gone.
    """
    told = str(error)
    has_returned = told.endswith(f" calls {AT_END}")
    if HAS_RETURNED in told or (CALLED in told and has_returned):
        first, second = (rank, error.rank) if has_returned else (error.rank, rank)
        return WorkerError(
            f"rank {first} has returned from its function, and rank {second} still waits for it\n"
            f"{_SAME_CALLS}"
        )
    if CALLED in told:
        return WorkerError(f"the workers do not make the same calls: {told}\n{_SAME_CALLS}")
    return error
