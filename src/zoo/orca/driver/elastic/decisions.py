"""When a stage ends for want of slots, or for more of them, and with how many workers it goes on.

Nothing here waits or asks Spark: `watch.py` looks, and `rounds.py` acts.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Verdict(Enum):
    """Why a stage that still runs is to end.

    Attributes
    ----------
    EARLY
        An executor was lost before the workers began. The stage begins again once there are slots.
    SHORT
        Executors were lost, and others have not come within the patience.
    MORE
        There are slots for more workers, and an epoch's checkpoint to go on from.
    """

    EARLY = auto()
    SHORT = auto()
    MORE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a stage may wait for.

    Parameters
    ----------
    workers : int
        Its tasks.
    wanted : int
        The workers that it should have; more than `workers` if it goes on with fewer.
    patience : float
        Seconds that it waits for slots.
    """

    workers: int
    wanted: int
    patience: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the driver sees of a stage at one moment.

    Parameters
    ----------
    now : float
        Seconds of any clock that never goes back.
    slots : int
        Tasks that all executors together can run.
    begun : bool
        Whether the workers have begun; if not, rows still move to where Spark reads them.
    active : int
        The stage's tasks that run.
    free : int
        Slots in which nothing runs.
    epochs : int
        The epochs that are done in the newest checkpoint; -1 if there is none.
    """

    now: float
    slots: int
    begun: bool = True
    active: int = 0
    free: int = 0
    epochs: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of earlier sights.

    Parameters
    ----------
    short_since : float or None
        When slots began to be missing; None if none are.
    epochs : int or None
        The epochs of the newest checkpoint when there began to be slots for more workers; None if
        there are none.
    """

    short_since: float | None = None
    epochs: int | None = None


def judge(terms: Terms, memory: Memory, sight: Sight) -> tuple[Memory, Verdict | None]:
    """Return what to remember of this sight, and whether the stage is to end.

    A stage all of whose tasks run needs no more slots: an executor that is about to go offers none,
    but finishes its tasks. Before the workers have begun, there is no time to wait for slots: Spark
    refuses a barrier stage for which adaptive execution finds too few, and then (4.3) stumbles over
    its own clean-up and stops the whole session.
    """
    if sight.slots < terms.workers and not sight.begun:
        return Memory(short_since=sight.now), Verdict.EARLY
    if sight.slots < terms.workers and sight.active < terms.workers:
        since = sight.now if memory.short_since is None else memory.short_since
        is_over = sight.now - since >= terms.patience
        return Memory(short_since=since), Verdict.SHORT if is_over else None
    if grown(terms, sight) > terms.workers:
        # What was done before is done: the stage gives up no part of an epoch for more workers.
        epochs = sight.epochs if memory.epochs is None else memory.epochs
        return Memory(epochs=epochs), Verdict.MORE if sight.epochs > epochs else None
    return Memory(), None


def grown(terms: Terms, sight: Sight) -> int:
    """Return how many workers there could be, with the stage's own and the slots that are free."""
    return max(terms.workers, min(terms.wanted, sight.slots, terms.workers + sight.free))


def fewer_workers(workers: int, least: int, slots: int | None) -> int | None:
    """Return with how many workers to go on after `workers` did not fit.

    Parameters
    ----------
    workers, least : int
    slots : int or None
        The slots that there are. None if nobody knows: then one worker fewer is tried.

    Returns
    -------
    int or None
        None if `least` do not fit either.
    """
    fits = workers - 1 if slots is None else min(workers, slots)
    return fits if fits >= max(least, 1) else None
