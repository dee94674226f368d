"""When learning-rate schedules step: after each update, or after each epoch.

A schedule does not say what it counts. If it counts the wrong thing, it ends in minutes or never.
By default each steps as in its documentation::

    OneCycleLR, CyclicLR                                  updates
    LambdaLR, MultiplicativeLR of transformers, diffusers updates
    ReduceLROnPlateau                                     epochs, whatever the user says
    SequentialLR, ChainedScheduler                        as those inside, if they agree
    all others, also a user's own                         epochs
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

from torch.optim import lr_scheduler

from zoo.orca.errors import ModelError

BATCH, EPOCH = "batch", "epoch"

_OF_UPDATES = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)
_OF_FUNCTIONS = (lr_scheduler.LambdaLR, lr_scheduler.MultiplicativeLR)
#: Packages whose functions for `LambdaLR` count updates.
_COUNT_UPDATES = ("transformers", "diffusers")
_WORDS = {BATCH: "each update", EPOCH: "each epoch"}


def moment_of(scheduler: lr_scheduler.LRScheduler) -> str:
    """Return when a schedule steps by default: "batch" or "epoch".

    Raises
    ------
    ModelError
        If it holds schedules that differ.
    """
    moments: dict[str, str] = {}
    for one in _innermost(scheduler):
        moments.setdefault(_habit(one), type(one).__name__)
    if len(moments) > 1:
        raise ModelError(
            f"{type(scheduler).__name__} holds {moments[BATCH]}, which counts updates, and "
            f"{moments[EPOCH]}, which counts epochs\n"
            "Say which it is: from_torch(scheduler_step_freq='batch') or 'epoch'"
        )
    return next(iter(moments))


def name_of(scheduler: lr_scheduler.LRScheduler) -> str:
    """Return a schedule's name, including those inside it."""
    inside = getattr(scheduler, "_schedulers", None)
    name = type(scheduler).__name__
    if not isinstance(inside, (list, tuple)):
        return name
    return f"{name}({', '.join(name_of(one) for one in inside)})"


class Schedules:
    """The schedules of a run, and when each steps.

    Parameters
    ----------
    schedulers : sequence
    frequency : "batch", "epoch" or None
        The user's choice.
    own : bool
        Whether the user's own callback steps them. Then only it knows when.

    Raises
    ------
    ModelError
        If it is unknown when one should step, or by what value.
    """

    def __init__(
        self, schedulers: Sequence[lr_scheduler.LRScheduler], frequency: str | None, own: bool
    ) -> None:
        self._schedulers, self._given, self._own = list(schedulers), frequency, own
        self._moments: list[str] = []
        if own:
            return
        for one in self._schedulers:
            if _is_plateau(one):
                self._moments.append(EPOCH)
                _check_mode(one)
            else:
                self._moments.append(frequency or moment_of(one))

    def is_due(self, moment: str) -> bool:
        """Whether any schedule steps after an update, or after an epoch."""
        if self._own:
            return moment == (self._given or EPOCH)
        return moment in self._moments

    def step(self, moment: str, results: Mapping[str, float]) -> None:
        """Step the schedules that are due; all of them if the user decides when."""
        for k, one in enumerate(self._schedulers):
            if not self._own and self._moments[k] != moment:
                continue
            if _is_plateau(one):
                one.step(_monitored(moment, results))
            else:
                one.step()

    def told(self) -> str:
        """Return messages to the user: what was chosen for them, or against their choice."""
        said = []
        for one, moment in zip(self._schedulers, self._moments, strict=False):
            name = type(one).__name__
            if _is_plateau(one):
                if self._given == BATCH:
                    said.append(f"{name} takes a step after each epoch, not after each update")
            elif self._given is None:
                other = BATCH if moment == EPOCH else EPOCH
                said.append(
                    f"{name} takes a step after {_WORDS[moment]}; "
                    f"scheduler_step_freq={other!r} lets it take one after {_WORDS[other]}"
                )
        return "\n".join(dict.fromkeys(said))


def _is_plateau(scheduler: lr_scheduler.LRScheduler) -> bool:
    return isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)


def _innermost(scheduler: lr_scheduler.LRScheduler) -> Iterator[lr_scheduler.LRScheduler]:
    """Yield the innermost schedules of one; itself if it is simple."""
    inside = getattr(scheduler, "_schedulers", None)
    if not isinstance(inside, (list, tuple)):
        yield scheduler
        return
    for one in inside:
        yield from _innermost(one)


def _habit(scheduler: lr_scheduler.LRScheduler) -> str:
    if isinstance(scheduler, _OF_UPDATES):
        return BATCH
    if isinstance(scheduler, _OF_FUNCTIONS):
        homes = {_package(function) for function in scheduler.lr_lambdas}
        if homes & set(_COUNT_UPDATES):
            return BATCH
    return EPOCH


def _package(function: Callable[..., float]) -> str:
    """Return the name of the package that defines a function."""
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None) or type(function).__module__
    return str(module).partition(".")[0]


def _check_mode(scheduler: lr_scheduler.LRScheduler) -> None:
    if scheduler.mode == "max":
        raise ModelError(
            "ReduceLROnPlateau(mode='max') would wait for the loss to rise, which is what it gets\n"
            "Leave mode out; or give it a metric in a MainCallback's on_lr_adjust: "
            "runner.scheduler.step(runner.logs['val_Accuracy'])"
        )


def _monitored(moment: str, results: Mapping[str, float]) -> float:
    """Return the value that `ReduceLROnPlateau` monitors.

    Raises
    ------
    ModelError
        If there is none.
    """
    if moment != EPOCH:
        raise ModelError(
            "ReduceLROnPlateau looks at the results of an epoch, and would step after an update\n"
            "Leave scheduler_step_freq out, or give 'epoch'"
        )
    for name in ("val_loss", "loss"):
        if name in results:
            return results[name]
    raise ModelError(
        f"ReduceLROnPlateau needs val_loss or the loss, and an epoch's results are "
        f"{sorted(results) or 'none'}\n"
        "Let train_epoch return 'train_loss', or pass validation_data"
    )
