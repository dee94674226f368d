"""The result of a worker's part of a job: from child to task, and on to the driver as rows."""

from dataclasses import dataclass, field

from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.messages.codec import Channel, Message
from zoo.orca.wire.outputs import OutputSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where one worker's time went.

    Parameters
    ----------
    phases : dict of str to float
        Seconds of each phase of the job.
    steps : int
        Training steps that `parts` sum over.
    parts : dict of str to float
        Seconds of each part of a step.
    """

    phases: dict[str, float]
    steps: int
    parts: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingsTold(Message):
    """A rank's own timings, sent to all others in a profiled `fit`."""

    timings: Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Message):
    """The result of training, evaluating or building; all but `state` is the same on each rank.

    Parameters
    ----------
    columns : FeatureSpec
        With the shapes found in the rows.
    inputs : FeatureSpec or None
        What the model's transform made of them; None: it has none.
    outputs : tuple of OutputSpec
        The model's outputs.
    history : dict of str to list of float
        One value an epoch.
    epochs : list of dict of str to float
        The values of each epoch of the call, whichever attempt trained it.
    metrics : dict of str to float
    timings : tuple of Timings
        By rank, if requested.
    is_canonical : bool
        Whether the rows of training's steps are the same for any number of workers.
    state_at : str
        A path in the job's `model_dir`, if the state was too large to travel.
    state : bytes
        A packed `zoo.orca.wire.packing.State`, on rank 0 of a job that changes it.
    """

    columns: FeatureSpec
    outputs: tuple[OutputSpec, ...]
    inputs: FeatureSpec | None = None
    history: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[dict[str, float]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    timings: tuple[Timings, ...] = ()
    is_canonical: bool = False
    state_at: str = ""
    state: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Message):
    """Why a worker did not finish; `error` names a class of `zoo.orca.errors`.

    Parameters
    ----------
    error : str
    message : str
        One or a few sentences for the user.
    rank : int
    host : str
    traceback : str
        The worker's own traceback, or an empty string.
    log : tuple of str
        The last lines its child printed.
    where : str
        The user's part of the traceback, or an empty string.
    versions : dict of str to str
        Versions of what the worker's processes have imported.
    module : str
        The module that was not found, if that is the error.
    incomplete : bool
        Whether Spark has not run all of the stage's tasks.
    """

    error: str
    message: str
    rank: int = -1
    host: str = ""
    traceback: str = ""
    log: tuple[str, ...] = ()
    where: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    module: str = ""
    incomplete: bool = False


Result = Outcome | Failure

#: In the first of a task's result rows; the state's bytes are split over all of them.
RESULTS: Channel[Result] = Channel(Outcome, Failure)
TIMINGS: Channel[TimingsTold] = Channel(TimingsTold)
