"""How many threads a child starts, and which later jobs it may then serve.

A fit on fewer workers than slots has more threads a worker than a prediction, which runs in every
slot. A child is worth keeping over both: a new one imports its framework for seconds.
"""

from dataclasses import dataclass

from zoo.orca.wire.job import Job, PredictJob

#: How many times its own threads a prediction takes in a warm child. All slots predict at the same
#: time: with twice the threads they are a few per cent slower, with four times some fifteen.
_TIMES_FOR_PREDICTION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """The threads that a job wants of a child.

    Parameters
    ----------
    count : int
        A new child starts so many.
    most : int
        A warm child may have been started with so many.
    any_number : bool
        Whether the job changes the number itself, in a running process.
    """

    count: int
    most: int
    any_number: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """The variables that set a new child's number of threads.

        PyTorch and numpy's BLAS read OpenMP's variable. XLA's CPU pool reads NPROC. Without it, XLA
        would start one thread for each processor that the child may use at that moment.
        """
        return {"OMP_NUM_THREADS": str(self.count), "NPROC": str(self.count)}

    def allow(self, started_with: int) -> bool:
        """Whether a child that was started with so many threads can serve the job."""
        return self.any_number or self.count <= started_with <= self.most


def threads_for(job: Job, count: int, alone: int = 0) -> Threads:
    """Return what a job wants.

    TensorFlow and XLA fix their threads as they start, and a training has neither more nor fewer
    than its share. PyTorch sets them for each job.

    Parameters
    ----------
    job : Job
    count : int
        Its share of the processors.
    alone : int
        Its share without the jobs beside it. These end; a child of so many threads is kept.
    """
    sets_them = job.model.framework == "torch" or job.environment.get("KERAS_BACKEND") == "torch"
    times = _TIMES_FOR_PREDICTION if isinstance(job, PredictJob) else 1
    most = max(alone, count * times)
    return Threads(count=count, most=most, any_number=sets_them)
