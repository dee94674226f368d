"""What the driver asks of the workers.

Jobs travel inside the stage's closure, and only workers unpickle them. Workers answer with messages
(`zoo.orca.wire.messages`), so the driver never unpickles anything from a worker.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from zoo.orca.errors import InvalidInputError
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.torch_options import TorchOptions

#: cloudpickle's id of a class that travels by value; it differs in each process.
_CLASS_NUMBER = re.compile(rb"[0-9a-f]{32}")


def _without_numbers(pickled: bytes) -> bytes:
    """Return a pickle without what differs in each process."""
    return _CLASS_NUMBER.sub(b"", pickled)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatorSpec:
    """A data creator of one call.

    Parameters
    ----------
    creator : bytes
        The pickled ``creator(config, batch_size)``.
    config : bytes
        The call's pickled `data_config`, which goes into the creator's `config`.
    """

    creator: bytes
    config: bytes

    def fingerprint(self) -> str:
        """Return a hash that is equal for creators that are alike, in any process."""
        parts = (_without_numbers(self.creator), self.config)
        return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()


#: A variable of a job's environment: failures must carry their whole traceback.
FULL_TRACEBACK = "ZOO_ORCA_FULL_TRACEBACK"


class Placement(Enum):
    """How a job's rows were placed on its workers; it decides what happens to uneven counts.

    Attributes
    ----------
    AT_RANDOM
        Each row was moved to a worker by a hash of it. The few that a worker has too many of, or
        that lie at the ends of its part of the sequence, move once more.
    AS_THEY_LAY
        Rows stayed in their partitions. If these are uneven, the job is refused, because its rows
        can still be placed at random.
    ONE_WORKER
        All rows are on one worker.
    """

    AT_RANDOM = 1
    AS_THEY_LAY = 2
    ONE_WORKER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Which framework builds which model.

    Parameters
    ----------
    framework : str
        Name of the module in `zoo.orca.frameworks` that trains it, for example "tf2".
    creator : bytes
        The pickled `model_creator` (see `zoo.orca.wire.packing`); empty until a model is loaded.
    config : bytes
        The creator's pickled argument.
    compile_args : bytes or None
        A pickled creator of arguments for `compile`, for uncompiled models.
    transform : bytes or None
        A pickled function that makes the model's inputs of batches of rows.
    """

    framework: str
    creator: bytes
    config: bytes
    compile_args: bytes | None = None
    transform: bytes | None = None

    def check(self) -> None:
        """Raise `InvalidInputError` while there is no model yet."""
        if not self.creator:
            raise InvalidInputError(
                "the estimator has no model yet: it was made without one\n"
                "Call load(path) of a file that holds a model, or pass one when you make it"
            )

    def fingerprint(self) -> str:
        """Return a hash that is equal for models that are made alike, in any process."""
        given = [self.creator, self.compile_args or b""]
        if self.transform is not None:  # earlier releases have none
            given.append(self.transform)
        creators = (_without_numbers(one) for one in given)
        parts = (self.framework.encode(), self.config, *creators)
        return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The fields of all jobs.

    Parameters
    ----------
    model : ModelSpec
    columns : FeatureSpec
        The columns; workers fill in the lengths of arrays once they have seen rows.
    state : bytes or None
        A packed `zoo.orca.wire.packing.State` to start from; None: as the creator built it.
    seed : int
        Fixes the order of rows and the workers' random generators.
    environment : dict
        Environment variables that a child needs before it imports the framework.
    noise : tuple of str
        Log lines that contain one of these are hidden: the framework prints them at every start.
    data_memory : int
        Bytes of rows that a worker may hold; it takes more rows window by window. 0: no limit.
    placement : Placement
        How the rows were placed on the workers.
    gpus : int
        GPUs of the worker, numbered from 0 for the framework; 0: it was promised none.
    """

    model: ModelSpec
    columns: FeatureSpec
    state: bytes | None
    seed: int
    environment: dict[str, str] = field(default_factory=dict)
    noise: tuple[str, ...] = ()
    data_memory: int = 0
    placement: Placement = Placement.ONE_WORKER
    gpus: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepwiseJob(Job):
    """The fields of training and evaluation, in which all workers take the same steps.

    Parameters
    ----------
    batch_size : int
        Rows of one step over all workers together.
    callbacks : bytes or None
        A pickled list of the framework's callbacks.
    options : TorchOptions or None
        Options that only PyTorch has.
    creator : CreatorSpec or None
        Makes the data on the workers; the stage then brings no rows.
    transform_processes : int
        Processes of each worker for the model's transform; 0: threads of the child.
    """

    batch_size: int = 32
    callbacks: bytes | None = None
    options: TorchOptions | None = None
    creator: CreatorSpec | None = None
    transform_processes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptJob(StepwiseJob):
    """The fields of what may leave checkpoints, and what returns through the stage's rows.

    Parameters
    ----------
    max_state_bytes : int
        The largest state that may return through the stage's rows; 0: no known limit.
    model_dir : str or None
        A directory that driver and workers reach, for checkpoints.
    run : str
        The name of this call, the same for all its attempts.
    """

    max_state_bytes: int = 0
    model_dir: str | None = None
    run: str = ""

    @property
    def checkpoints(self) -> str:
        """The directory of this call's checkpoints; empty if it has none."""
        return f"{self.model_dir.rstrip('/')}/{self.run}" if self.model_dir and self.run else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob(KeptJob):
    """Train for some epochs.

    Parameters
    ----------
    epochs, initial_epoch : int
        Epochs are numbered from `initial_epoch` to ``initial_epoch + epochs``.
    steps_per_epoch : int or None
        Global batches an epoch; None: one exact pass.
    validate : bool
        Whether the stage carries validation rows.
    validation_steps : int or None
        Global batches of validation; None: one exact pass.
    validation_freq : int or tuple of int
        Validate after every n-th epoch, or after these epochs (counted from 1).
    class_weight : dict of int to float, or None
    checkpoint_steps : int or None
        Within an epoch, a checkpoint is written after every so many steps.
    checkpoint_seconds : float or None
        Within an epoch, a checkpoint is written every so many seconds.
    profile : bool
        Whether to measure where the time goes.
    validation_creator : CreatorSpec or None
        Makes the validation data on the workers.
    asks : bool
        Whether rank 0 asks the driver after each epoch if it is the last one.
    rounds_gradients : bool
        Whether gradients may be sent between hosts as bfloat16.
    """

    epochs: int = 1
    initial_epoch: int = 0
    steps_per_epoch: int | None = None
    validate: bool = False
    validation_steps: int | None = None
    validation_freq: int | tuple[int, ...] = 1
    class_weight: dict[int, float] | None = None
    checkpoint_steps: int | None = None
    checkpoint_seconds: float | None = None
    profile: bool = False
    validation_creator: CreatorSpec | None = None
    asks: bool = False
    rounds_gradients: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopJob(KeptJob):
    """Call a user's function once on each worker.

    The model's creator is the function, and its config are the function's arguments by name. Rows
    are placed in steps of one row for each worker: so they lie right for any batch size that is a
    multiple of the workers. Without columns there are no rows.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateJob(StepwiseJob):
    """Evaluate over one exact pass, or the first `steps` global batches of it."""

    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictCreatedJob(StepwiseJob):
    """Predict the batches of a creator at once, and return all outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob(Job):
    """Build the model once; return its outputs and, if the job brings none, its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictJob(Job):
    """Predict; the model sees at most `batch_size` rows at once, or as many as suit it for None.

    `outputs` are the model's when it was built, and `inputs` what the model's transform then made
    of the columns; None: it has none. `threads` is the number of processor threads that
    each task may use.
    """

    threads: int = 1
    batch_size: int | None = None
    outputs: tuple[OutputSpec, ...] = ()
    inputs: FeatureSpec | None = None
