"""When a `fit` writes checkpoints, under Orca's names: ``fit(checkpoint_trigger=...)``."""

from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import positive
from zoo.orca.refusals import noted


class EveryEpoch:
    """At the end of each epoch, as always where there is a `model_dir`."""

    def __repr__(self) -> str:
        return "EveryEpoch()"


class SeveralIteration:
    """After so many steps of an epoch, and at its end.

    Parameters
    ----------
    interval : int
    """

    def __init__(self, interval: int) -> None:
        positive("interval", interval)
        self.interval = interval

    def __repr__(self) -> str:
        return f"SeveralIteration({self.interval})"


@noted()
def steps_between(trigger: Any, checkpoint_steps: int | None, model_dir: str | None) -> int | None:
    """Return `checkpoint_steps` of `fit`, which `checkpoint_trigger` may stand for.

    Raises
    ------
    InvalidInputError
        If the trigger is none, is there beside the steps, or has no place to write to.
    """
    if trigger is None:
        return checkpoint_steps
    if not isinstance(trigger, (EveryEpoch, SeveralIteration)):
        raise InvalidInputError(
            f"checkpoint_trigger must be a trigger, got a {type(trigger).__qualname__}\n"
            "Write checkpoint_trigger=EveryEpoch() or SeveralIteration(100), of "
            "zoo.orca.learn.trigger"
        )
    if model_dir is None:
        raise InvalidInputError(
            f"checkpoint_trigger={trigger} needs a place for checkpoints\n"
            "Give the estimator a model_dir that driver and workers reach"
        )
    if isinstance(trigger, EveryEpoch):
        return checkpoint_steps
    if checkpoint_steps is not None:
        raise InvalidInputError(
            f"checkpoint_trigger={trigger} and checkpoint_steps={checkpoint_steps} say two things\n"
            "Leave one of them out"
        )
    return trigger.interval


__all__ = ["EveryEpoch", "SeveralIteration"]
