"""Decides what of a saved training continues and what starts anew, and reports it.

Users often load weights and train on with another optimizer. PyTorch itself accepts the state of
any optimizer, so Adam may get SGD's learning rates and no betas. Therefore a state names its
makers, and only the fitting parts are used.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from zoo.orca.errors import StateError
from zoo.orca.frameworks.torch.saving.state import write_training
from zoo.orca.frameworks.torch.training.schedules import name_of
from zoo.orca.wire.packing import State

if TYPE_CHECKING:
    from zoo.orca.frameworks.torch.training.operator import TrainingOperator

#: Keys in a state's header, and in the checkpoints of `ModelCheckpoint`.
MADE = "made"


def made_of(
    model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> list[dict[str, Any]]:
    """Describe optimizers as they were made: their classes, parameters and rates."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        {
            "class": type(one).__name__,
            "parameters": [
                [names.get(id(parameter), "") for parameter in group["params"]]
                for group in one.param_groups
            ],
            "rates": [_rate(group) for group in one.param_groups],
        }
        for one in optimizers
    ]


class Resumed:
    """Gives optimizers and schedules their saved state, if it fits.

    Parameters
    ----------
    state : State
    made : dict
        The parts of this run: ``optimizers`` from `made_of`, and the names of ``schedulers``.
    insist : bool
        Whether a misfit is an error.

    Attributes
    ----------
    told : list of str
        What starts anew, and why.
    has_schedules : bool
        Whether schedules continue.
    """

    def __init__(self, state: State, made: dict[str, Any], insist: bool) -> None:
        self._state, self._made, self._insist = state, made, insist
        self._saved: dict[str, Any] = state.meta.get(MADE) or {}
        self.told: list[str] = []
        self.has_schedules = False

    def give(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        schedulers: Sequence[torch.optim.lr_scheduler.LRScheduler],
        operator: "TrainingOperator",
    ) -> None:
        """Write the state; optimizers and schedulers were just made.

        Raises
        ------
        StateError
            If something does not fit and `insist` is set.
        """
        meta = self._state.meta
        saved = meta.get("optimizers") or []
        taken = {"operator": meta.get("operator")}
        fresh = [[_settings(group) for group in one.param_groups] for one in optimizers]
        if saved and self._fits(optimizers, saved):
            taken["optimizers"] = saved
            if self._has_schedules(schedulers):
                taken["schedulers"] = meta.get("schedulers") or []
        self.has_schedules = bool(taken.get("schedulers"))
        write_training(State(self._state.tensors, taken), optimizers, schedulers, operator)
        if "optimizers" in taken and schedulers and not self.has_schedules:
            # A new schedule has set its own first rates.
            for one, settings in zip(optimizers, fresh, strict=True):
                for group, values in zip(one.param_groups, settings, strict=True):
                    group.update(values)
        elif "optimizers" in taken:
            self._compare_rates(optimizers)

    def _fits(self, optimizers: Sequence[torch.optim.Optimizer], saved: Sequence[Any]) -> bool:
        why = self._misfit(optimizers, saved)
        if why and self._insist:
            raise StateError(
                f"the optimizer of the state does not fit: {why}\n"
                "Call load(path) for what fits, load(path, optimizer=False) for the weights alone"
            )
        if why:
            self.told.append(f"the optimizer begins anew, with the weights of the state: {why}")
        return not why

    def _misfit(self, optimizers: Sequence[torch.optim.Optimizer], saved: Sequence[Any]) -> str:
        """Return why optimizers cannot take a saved state; empty if they can."""
        if len(optimizers) != len(saved):
            return f"it was saved with {len(saved)} optimizers, and there are {len(optimizers)}"
        known = self._saved.get("optimizers") or [None] * len(saved)
        for one, own, was, values in zip(
            optimizers, self._made["optimizers"], known, saved, strict=True
        ):
            kind = own["class"]
            if was is not None and was["class"] != kind:
                return f"it was saved with {was['class']}, and this estimator has {kind}"
            if was is not None and was["parameters"] != own["parameters"]:
                return f"its {kind} had other parameters{_example(was, own)}"
            if was is None and not _is_alike(one, values["param_groups"]):
                return f"it was saved with another optimizer or other parameters than this {kind}"
            if _sizes(values["param_groups"]) != _sizes(one.param_groups):
                return f"its {kind} was given other groups of parameters while it trained"
        return ""

    def _has_schedules(self, schedulers: Sequence[torch.optim.lr_scheduler.LRScheduler]) -> bool:
        """Whether the state's schedules are those of this run."""
        saved = self._state.meta.get("schedulers") or []
        was, own = self._saved.get("schedulers"), self._made["schedulers"]
        if was is None:  # from a file that does not tell
            alike = len(saved) == len(schedulers) and all(
                set(values) <= set(one.state_dict())
                for one, values in zip(schedulers, saved, strict=True)
            )
            was = own if alike else ["another one"] * bool(saved)
        if was == own:
            return True
        before, now = ", ".join(was) or "none", ", ".join(own) or "none"
        why = f"the state was saved with {before}, and this estimator has {now}"
        if self._insist:
            raise StateError(
                f"the schedule of the state does not fit: {why}\n"
                "Call load(path) for what fits, load(path, optimizer=False) for the weights alone"
            )
        if own:
            self.told.append(f"the learning-rate schedule begins anew: {why}")
        else:
            self.told.append(f"the learning rate stays what it was: {why}")
        return False

    def _compare_rates(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Report the creator's rates that have no effect, because the state's continue."""
        known = self._saved.get("optimizers") or []
        for one, own, was in zip(optimizers, self._made["optimizers"], known, strict=False):
            if was["rates"] != own["rates"]:
                shown = ", ".join(f"{_rate(group)}" for group in one.param_groups)
                mine = ", ".join(f"{rate}" for rate in own["rates"])
                self.told.append(
                    f"{own['class']} goes on with the state's learning rate {shown}, not {mine}: "
                    "load(path, optimizer=False) begins anew"
                )


def names_of(schedulers: Sequence[torch.optim.lr_scheduler.LRScheduler]) -> list[str]:
    """Return the names of schedules."""
    return [name_of(one) for one in schedulers]


def _rate(group: dict[str, Any]) -> float | None:
    """Return a group's learning rate; a user's own optimizer may have none."""
    return float(group["lr"]) if "lr" in group else None


def _sizes(groups: Sequence[dict[str, Any]]) -> list[int]:
    return [len(group["params"]) for group in groups]


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _example(was: dict[str, Any], own: dict[str, Any]) -> str:
    names = [{name for group in one["parameters"] for name in group} for one in (was, own)]
    other = sorted(names[0] ^ names[1])
    return f", such as {other[0]!r}" if other else ", or other groups of them"


def _is_alike(optimizer: torch.optim.Optimizer, groups: Sequence[dict[str, Any]]) -> bool:
    """Whether parameter groups may be an optimizer's, by their settings and sizes."""
    if _sizes(groups) != _sizes(optimizer.param_groups):
        return False
    known = set(optimizer.defaults)
    names = set(groups[0]) - {"params", "initial_lr"}
    return known <= names or names <= known
