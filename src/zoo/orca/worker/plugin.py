"""The seam between the engine and a framework.

Separation of concerns:

* the *child* (`zoo.orca.worker.child.runner`) knows the place of the rows, the peers and
  the way of the results, and calls one plug-in by name;
* a *plug-in* (a module of `zoo.orca.frameworks` with a function ``framework() -> Framework``)
  builds the user's model and runs the framework's ordinary loop over the rows it is given;
* the *collective* is a plug-in's only connection to the other workers.

A plug-in never starts processes, opens files of rows or prints progress by itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from zoo.orca.errors import StateError
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import (
    CreatorSpec,
    EvaluateJob,
    Job,
    KeptJob,
    LoopJob,
    PredictCreatedJob,
    PredictJob,
    TrainJob,
)
from zoo.orca.wire.messages.progress import Progress
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.collective.ring import Ring
from zoo.orca.worker.collective.rounded import Rounded
from zoo.orca.worker.timings import Stopwatch

#: Rows by column name: arrays of shape (rows, *row shape). Strings are object arrays of bytes.
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One worker's rows of one data set, and the plan of all workers' steps over them.

    `spec` has every array length filled in, and is the same on all ranks.
    """

    spec: FeatureSpec
    columns: Columns
    plan: Plan


#: Takes a function to call later.
AtEnd: TypeAlias = Callable[[Callable[[], None]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """One worker's part of a data set that the user's creator makes there.

    Parameters
    ----------
    creator : CreatorSpec
    config : bytes
        The estimator's pickled `config`.
    argument : str
        The argument of the call, for errors.
    batch_size : int
        Rows of one step over all workers together.
    seed : int
    role : str
        "train", "evaluate" or "predict".
    report : callable
        Takes what this worker has to say of it.
    at_end : callable
        Takes what is to be called when the job ends, however it does.
    """

    creator: CreatorSpec
    config: bytes
    argument: str
    batch_size: int
    seed: int
    role: str
    report: Callable[[Progress], None]
    at_end: AtEnd


#: One worker's part of a data set, of any kind. The engine agrees on it and passes it on. Code that
#: looks inside checks the kind.
Data: TypeAlias = Rows | Created


class Saver(Protocol):
    """Saves the state of a training that goes on; every method is called on all ranks.

    `state` returns a copy of the state, and is called on rank 0 alone; so is `counted`, which
    returns what callbacks have counted. `history` is the history of the epochs that have ended.
    """

    @property
    def within_epochs(self) -> bool:
        """Whether `is_due` may be true."""

    def is_due(self, steps: int) -> bool:
        """Whether to save now; asked after each step of an epoch but the last one.

        Parameters
        ----------
        steps : int
            The epoch's steps that are done.
        """

    def save_within(
        self,
        state: Callable[[], State],
        history: Mapping[str, list[float]],
        steps: int,
        sums: State,
        /,
        *,
        counted: Callable[[], State] | None = None,
    ) -> None:
        """Save within an epoch.

        Parameters
        ----------
        state : callable
        history : dict of str to list of float
        steps : int
            The epoch's steps that are done.
        sums : State
            What this rank has added up in the epoch, such as its metrics.
        counted : callable, optional
        """

    def save(
        self,
        state: Callable[[], State],
        history: Mapping[str, list[float]],
        /,
        *,
        counted: Callable[[], State] | None = None,
    ) -> None:
        """Save at the end of an epoch."""


#: Writes a state as the newest checkpoint while the job goes on; for rank 0 alone.
Keep: TypeAlias = Callable[[State], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The first epoch of a job that goes on within it.

    Parameters
    ----------
    steps : int
        The epoch's steps that are done.
    sums : tuple of State
        What former ranks had added up, each at one rank now: one, none or several of them.
    """

    steps: int
    sums: tuple[State, ...]


class EndOfEpoch(Protocol):
    """Takes note that an epoch has ended."""

    def __call__(self, logs: Mapping[str, float], /, *, is_stopped: bool, is_last: bool) -> bool:
        """Return whether the driver ends the training with an epoch.

        All ranks call it at the end of each epoch, before they save, with the same flags, and get
        the same answer.

        Parameters
        ----------
        logs : dict of str to float
            What the epoch adds to the history.
        is_stopped : bool
            Whether a callback has stopped the training.
        is_last : bool
            Whether it is the last of the epochs that were to be trained.
        """


def _train_on(logs: Mapping[str, float], /, *, is_stopped: bool, is_last: bool) -> bool:
    """Return that the driver does not end the training."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A worker's collective, and where it reports.

    If given, `saver` saves the state at the end of each epoch and, if it says so, within epochs.
    If given, `begun` says how far the first epoch is. Earlier attempts have trained `past_epochs`
    of the call, which are not among the job's. If given, `counted` is what callbacks had counted
    in them.
    If given, `timings` receives the parts of each step's time. If `rounds_gradients`, gradients may
    be sent between hosts as bfloat16.
    """

    collective: Collective
    report: Callable[[Progress], None]
    epoch_ended: EndOfEpoch = _train_on
    saver: Saver | None = None
    begun: Begun | None = None
    past_epochs: int = 0
    counted: State | None = None
    timings: Stopwatch | None = None
    rounds_gradients: bool = False

    @property
    def gradients(self) -> Collective:
        """What sums gradients: the collective, or one of the same ranks that rounds."""
        ring = self.collective
        # Another collective, such as that of GPUs, has its own way to send.
        if self.rounds_gradients and isinstance(ring, Ring) and ring.spans_hosts:
            return Rounded(ring)
        return ring

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
    """The result of `Framework.train`; `history` and `state` are the same on every rank.

    `state` copies the state. It is called on rank 0 only, before anything else runs.
    """

    history: dict[str, list[float]]
    state: Callable[[], State]
    outputs: tuple[OutputSpec, ...]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The result of `Framework.evaluate`; `metrics` has the framework's own names."""

    metrics: dict[str, float]
    outputs: tuple[OutputSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """The result of `Framework.predict_created` on one rank.

    Parameters
    ----------
    steps : list of list of array
        The outputs of each of this rank's batches.
    outputs : tuple of OutputSpec
    is_dealt : bool
        Whether ranks' batches are dealt out of one data set.
    """

    steps: list[list[NDArray[Any]]]
    outputs: tuple[OutputSpec, ...]
    is_dealt: bool


@dataclass(frozen=True, slots=True)
class Built:
    """The result of `Framework.build`."""

    state: State
    outputs: tuple[OutputSpec, ...]


def is_too_large(nbytes: int, job: KeptJob) -> bool:
    """Whether a state of that many bytes is too large for the stage's result rows."""
    # The header and Spark's framing of rows add to it.
    return bool(job.max_state_bytes) and 1.05 * nbytes + 65536 > job.max_state_bytes


def check_state_size(nbytes: int, job: TrainJob) -> None:
    """Raise, before training, if the state could not be returned after it.

    Raises
    ------
    StateError
        Names the setting, and `model_dir`, which returns a state of any size.
    """
    if is_too_large(nbytes, job) and job.model_dir is None:
        raise StateError(
            f"the model's state weighs {nbytes / 2**20:,.1f} MiB, and Spark lets results weigh "
            f"{job.max_state_bytes / 2**20:,.1f} MiB\nRaise spark.driver.maxResultSize, or give "
            "the estimator a model_dir that driver and workers reach"
        )


class Predictor(Protocol):
    """A model that predicts rows, one call after another."""

    @property
    def is_as_new(self) -> bool:
        """Whether it predicts whatever comes next as a new one would; asked after `end`."""

    def begin(self, sample: Columns) -> int:
        """Build the model with a few of a task's first rows; called before all else.

        Returns
        -------
        int
            How many rows suit the model in one call.
        """

    def __call__(self, columns: Columns) -> list[NDArray[Any]]:
        """Return the model's outputs for at least one row, unchanged."""

    def end(self) -> None:
        """Let go of what a task's rows needed; called after all else."""


class Plugin(Protocol):
    """What every plug-in does before a job runs."""

    def prepare(self, job: Job, threads: int) -> None:
        """Import the framework and set threads; called once, before rows have arrived."""

    def make(self, job: Job) -> None:
        """Make what needs no rows, such as the user's model; called after `prepare`.

        So its errors are reported before rows move. The job that runs later may have another state.
        Not called for predictions.
        """


class OwnLoop(Plugin, Protocol):
    """Runs a user's own function; all ranks call `run` with the same job."""

    def run(
        self, job: LoopJob, data: Rows | None, world: World, keep: Keep | None, /
    ) -> State | None:
        """Run the function to its end on all ranks.

        Parameters
        ----------
        job : LoopJob
            Its state is the newest checkpoint, if there is one.
        data : Rows or None
            This rank's rows, if there are any columns.
        world : World
        keep : callable or None
            Writes a checkpoint; None if there is no place for it.

        Returns
        -------
        State or None
            What the function returned, on rank 0 only.
        """


class Framework(Plugin, Protocol):
    """One framework's way to build, train, evaluate and predict.

    `train` and `evaluate` are collective: all ranks call them with the same job.
    """

    def train(self, job: TrainJob, data: Data, validation: Data | None, world: World, /) -> Trained:
        """Train and return history and state."""

    def evaluate(self, job: EvaluateJob, data: Data, world: World, /) -> Evaluated:
        """Evaluate and return the metrics over all workers' data."""

    def predict_created(self, job: PredictCreatedJob, data: Created, world: World, /) -> Predicted:
        """Predict this rank's batches of a creator; called on all ranks."""

    def build(self, job: Job, sample: Columns | None) -> Built:
        """Build the model, with its first batch if it needs one, and return its state.

        Without a sample, the column types are used.

        Raises
        ------
        RowsNeededError
            If the column types are not enough.
        """

    def predictor(self, job: PredictJob) -> Predictor:
        """Return a predictor with the job's state."""
