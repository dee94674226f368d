"""The seam between the engine and a framework.

Separation of concerns:

* the *child* (`zoo.orca.worker.child.runner`) knows where rows lie, who the peers are and how
  results travel, and calls one plug-in by name;
* a *plug-in* (a module of `zoo.orca.frameworks` with a function ``framework() -> Framework``)
  builds the user's model and runs the framework's ordinary loop over the rows it is given;
* the *collective* is the only way in which a plug-in talks to the other workers.

A plug-in never starts processes, opens files of rows or prints progress by itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from zoo.orca.errors import StateError
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import EvaluateJob, Job, PredictJob, TrainJob
from zoo.orca.wire.messages.progress import Progress
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State
from zoo.orca.wire.plan import Plan
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.timings import Stopwatch

#: Rows by column name: arrays of shape (rows, *row shape); strings are object arrays of bytes.
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One worker's rows of one data set, and the plan of all workers' steps over them.

    `spec` has every array length filled in, the same on all ranks.
    """

    spec: FeatureSpec
    columns: Columns
    plan: Plan


#: One worker's part of a data set, of whatever kind it is: a union, of `Rows` alone as yet. The
#: engine agrees on it and hands it on. Whoever needs to look inside asks which kind it is.
Data: TypeAlias = Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Who this worker is, whom it talks to, and where it reports.

    `checkpoint`, where it is given, is called on rank 0 at the end of each epoch, with a function
    that returns the state and the history so far.

    `timings`, where it is given, is to be told what steps are made of.
    """

    collective: Collective
    report: Callable[[Progress], None]
    checkpoint: Callable[[Callable[[], State], Mapping[str, list[float]]], None] | None = None
    timings: Stopwatch | None = None

    @property
    def rank(self) -> int:
        """The number of this worker."""
        return self.collective.rank

    @property
    def size(self) -> int:
        """Number of workers."""
        return self.collective.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What `Framework.train` returns; `history` and `state` are the same on every rank."""

    history: dict[str, list[float]]
    state: State
    outputs: tuple[OutputSpec, ...]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What `Framework.evaluate` returns; `metrics` has the framework's own names."""

    metrics: dict[str, float]
    outputs: tuple[OutputSpec, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """What `Framework.build` returns."""

    state: State
    outputs: tuple[OutputSpec, ...]


def is_too_large(nbytes: int, job: TrainJob) -> bool:
    """Whether a state of that many bytes cannot come back through the stage's result rows."""
    # The header and Spark's own framing of rows come on top.
    return bool(job.max_state_bytes) and 1.05 * nbytes + 65536 > job.max_state_bytes


def check_state_size(nbytes: int, job: TrainJob) -> None:
    """Refuse, before training, a state that could not come back after it.

    Raises
    ------
    StateError
        Names the setting, and `model_dir`, through which a state of any size comes back.
    """
    if is_too_large(nbytes, job) and job.model_dir is None:
        raise StateError(
            f"the model's state weighs {nbytes / 2**20:,.1f} MiB, and Spark lets results weigh "
            f"{job.max_state_bytes / 2**20:,.1f} MiB\nRaise spark.driver.maxResultSize, or give "
            "the estimator a model_dir that driver and workers reach"
        )


class Predictor(Protocol):
    """A model that predicts rows, one call after another."""

    def begin(self, sample: Columns) -> int:
        """Build what the first rows build, by a few of them; called once, before all else.

        Returns
        -------
        int
            How many rows suit the model in one call.
        """

    def __call__(self, columns: Columns) -> list[NDArray[Any]]:
        """Return what the model makes of at least one row, output by output, as it comes."""


class Framework(Protocol):
    """One framework's way to build, train, evaluate and predict.

    `train` and `evaluate` are collective: all ranks call them with the same job.
    """

    def prepare(self, job: Job, threads: int) -> None:
        """Import the framework and set threads; called once, before rows have arrived."""

    def make(self, job: Job) -> None:
        """Make what needs no rows, such as the user's model; called after `prepare`.

        So what is wrong with it is told before rows have moved. The job that is run then may have
        another state. It is not called for predictions.
        """

    def train(self, job: TrainJob, data: Data, validation: Data | None, world: World, /) -> Trained:
        """Train and return history and state."""

    def evaluate(self, job: EvaluateJob, data: Data, world: World, /) -> Evaluated:
        """Evaluate and return the metrics over all workers' data."""

    def build(self, job: Job, sample: Columns | None) -> Built:
        """Build the model, by its first batch if it needs one, and return its state.

        Without a sample the columns' types must do.

        Raises
        ------
        RowsNeededError
            If they do not.
        """

    def predictor(self, job: PredictJob) -> Predictor:
        """Return what predicts with the job's state."""
