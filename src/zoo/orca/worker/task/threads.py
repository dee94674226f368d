"""How many threads a child starts, and which later jobs it may then serve.

A fit on fewer workers than slots has more threads a worker than a prediction, which runs in every
slot. A child is worth keeping over both: a new one imports its framework for seconds.
"""

from dataclasses import dataclass

from zoo.orca.wire.job import Job, PredictJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """The threads that a job wants of a child.

    Parameters
    ----------
    count : int
        A new child starts so many.
    fewest : int
    most : int or None
        A warm child may have been started with so many; no `most`: with any number above.
    """

    count: int
    fewest: int
    most: int | None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that set a new child's number of threads.

        PyTorch and numpy's BLAS read OpenMP's variable. XLA's CPU pool reads NPROC. Without it, XLA
        would start one thread for each processor that the child may use at that moment.
        """
        return {"OMP_NUM_THREADS": str(self.count), "NPROC": str(self.count)}

    def allow(self, started_with: int) -> bool:
        """Whether a child that was started with so many threads can serve the job."""
        return self.fewest <= started_with and (self.most is None or started_with <= self.most)


def threads_for(job: Job, count: int, alone: int = 0) -> Threads:
    """Return what a job wants.

    TensorFlow and XLA fix their threads as they start, and a training has neither more nor fewer
    than its share. PyTorch sets them for each job. A prediction takes what trainings have left: the
    threads of their children are no more than the processors, whatever other children there are.

    Parameters
    ----------
    job : Job
    count : int
        Its share of the processors.
    alone : int
        Its share without the jobs beside it. These end; a child of so many threads is kept.
    """
    sets_them = job.model.framework == "torch" or job.environment.get("KERAS_BACKEND") == "torch"
    return Threads(
        count=count,
        fewest=0 if sets_them else count,
        most=None if sets_them or isinstance(job, PredictJob) else max(alone, count),
    )
