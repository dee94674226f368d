"""Optuna's part: which samplers and pruners the original's names mean, and a study in its storage.

A study that is stored may have been begun by a program that was ended. What that program left
running is tried again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from zoo.orca.driver.runs import is_alive, is_of_here, this_process
from zoo.orca.errors import InvalidInputError, MissingPackageError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

#: The attributes that a trial has in the storage: its configuration, the process that runs it, what
#: went wrong, and whether its program ended before it did.
CONFIG, OWNER, ERROR, LEFT = "config", "owner", "error", "left"

_SAMPLERS: Final = {
    "TPESampler": ("tpe", "optuna", "hyperopt", "bohb"),
    "RandomSampler": ("random", "variant_generator"),
    "GPSampler": ("gp", "bayesopt", "skopt", "ax"),
    "CmaEsSampler": ("cmaes", "nevergrad"),
    "QMCSampler": ("qmc",),
}
_PRUNERS: Final = {
    "NopPruner": ("fifo", "none"),
    "SuccessiveHalvingPruner": ("asha", "async_hyperband", "asynchyperband"),
    "HyperbandPruner": ("hyperband", "hb_bohb"),
    "MedianPruner": ("median", "median_stopping_rule", "medianstopping"),
    "PercentilePruner": ("percentile",),
    "PatientPruner": ("patient",),
}
#: Names of Ray's that mean an argument of Optuna's; None: it has no meaning here.
_RENAMED: Final = {
    "SuccessiveHalvingPruner": {
        "grace_period": "min_resource",
        "reduction_factor": "reduction_factor",
        "max_t": None,
        "time_attr": None,
        "brackets": None,
    },
    "HyperbandPruner": {"max_t": "max_resource", "time_attr": None},
    "MedianPruner": {
        "grace_period": "n_warmup_steps",
        "min_samples_required": "n_startup_trials",
        "time_attr": None,
    },
}


def optuna() -> Any:
    """Return the package.

    Raises
    ------
    MissingPackageError
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "the package 'optuna' is not installed, and searches need it\n"
            "Install it: pip install 'zoo-orca[automl]'"
        ) from error
    return optuna


def sampler_of(
    search_alg: Any, parameters: Mapping[str, Any] | None, seed: int
) -> BaseSampler | None:
    """Return the sampler of a name for one trial; None for one that the user has made.

    Raises
    ------
    InvalidInputError
        If there is no such sampler, or it does not take the parameters.
    """
    samplers = optuna().samplers
    if isinstance(search_alg, samplers.BaseSampler):
        return None
    kind = _kind("search_alg", search_alg or "tpe", _SAMPLERS, "sampler")
    made: BaseSampler = _made(
        "search_alg_params", getattr(samplers, kind), {"seed": seed, **(parameters or {})}
    )
    return made


def pruner_of(scheduler: Any, parameters: Mapping[str, Any] | None) -> BasePruner:
    """Return the pruner of a name.

    Raises
    ------
    InvalidInputError
        If there is no such pruner, or it does not take the parameters.
    """
    pruners = optuna().pruners
    if isinstance(scheduler, pruners.BasePruner):
        given: BasePruner = scheduler
        return given
    kind = _kind("scheduler", scheduler or "fifo", _PRUNERS, "pruner")
    renamed = _RENAMED.get(kind, {})
    named: dict[str, Any] = {}
    for name, value in (parameters or {}).items():
        own = renamed.get(name, name)
        if own is not None:
            named[own] = value
    if kind == "PatientPruner":
        named = {"wrapped_pruner": None, "patience": 2, **named}
    if kind == "PercentilePruner":
        named = {"percentile": 25.0, **named}
    made: BasePruner = _made("scheduler_params", getattr(pruners, kind), named)
    return made


def _kind(argument: str, given: Any, names: Mapping[str, Sequence[str]], what: str) -> str:
    wanted = str(given).lower()
    for kind, called in names.items():
        if wanted in (kind.lower(), *called):
            return kind
    known = sorted(name for called in names.values() for name in called)
    raise InvalidInputError(
        f"{argument}={given!r} is none of {known}\nName one of these, or give a {what} of Optuna"
    )


def _made(argument: str, kind: Any, parameters: Mapping[str, Any]) -> Any:
    try:
        return kind(**parameters)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{argument} does not suit Optuna's {kind.__name__}: {error}\n"
            f"Give the arguments of optuna's {kind.__name__}"
        ) from error


def open_study(
    storage: Any, name: str, mode: str, sampler: BaseSampler | None, pruner: BasePruner
) -> Study:
    """Return the study of a name in a storage, begun anew if it is not there.

    Raises
    ------
    InvalidInputError
        If the storage cannot be opened, or a stored one looks for the other end of its metric.
    """
    package = optuna()
    from sqlalchemy.exc import SQLAlchemyError  # Optuna's own storages need it

    try:
        study: Study = package.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            pruner=pruner,
            direction="minimize" if mode == "min" else "maximize",
            load_if_exists=storage is not None,
        )
    except (SQLAlchemyError, package.exceptions.StorageInternalError) as error:
        raise InvalidInputError(
            f"storage={storage!r} cannot be opened: {str(error).splitlines()[0]}\n"
            "Write storage='sqlite:///search.db', with a directory that is there, or the URL of "
            "another database"
        ) from error
    found = study.direction.name.lower()
    if found != ("minimize" if mode == "min" else "maximize"):
        raise InvalidInputError(
            f"the study {name!r} in the storage was begun to {found} its metric, and "
            f"metric_mode={mode!r} is not that\nGive this search another name, or the same metric"
        )
    return study


def retry_left(study: Study) -> None:
    """Put in the queue again what an ended program of this machine has left running."""
    running = optuna().trial.TrialState.RUNNING
    for trial in study.get_trials(deepcopy=False, states=(running,)):
        owner = json.loads(trial.user_attrs.get(OWNER, "{}"))
        # A process of another machine may be alive.
        if is_of_here(owner) and not is_alive(owner):
            leave(study, trial)


def leave(study: Study, trial: FrozenTrial | Trial) -> None:
    """End a trial whose program ends, and put it in the queue again."""
    package = optuna()
    # The attributes of a trial that has ended cannot be changed.
    package.trial.Trial(study, trial._trial_id).set_user_attr(LEFT, True)
    study.tell(trial.number, state=package.trial.TrialState.FAIL, skip_if_finished=True)
    study.enqueue_trial(trial.params)


def plan(study: Study, points: Sequence[Mapping[str, Any]], samples: int) -> int:
    """Queue what a search has still to try; return how many trials that is, -1 without end.

    Parameters
    ----------
    study : Study
    points : sequence of dict
        The grid; each point is tried `samples` times.
    samples : int
    """
    waits = optuna().trial.TrialState.WAITING
    trials = [one for one in study.get_trials(deepcopy=False) if not one.user_attrs.get(LEFT)]
    waiting = len([one for one in trials if one.state == waits])
    if samples < 0:
        return -1
    if len(points) == 1 and not points[0]:
        return max(0, samples - len(trials) + waiting)
    names = sorted(points[0])
    tried = Counter(_point(_fixed(one), names) for one in trials)
    left = waiting
    for point in [*points] * samples:
        key = _point(point, names)
        if tried[key] > 0:
            tried[key] -= 1
        else:
            study.enqueue_trial(dict(point))
            left += 1
    return left


def begun(study: Study) -> int:
    """Return the number of trials that were begun, without those that are tried again."""
    waits = optuna().trial.TrialState.WAITING
    trials = study.get_trials(deepcopy=False)
    return len([one for one in trials if one.state != waits and not one.user_attrs.get(LEFT)])


def best_of(study: Study) -> FrozenTrial | None:
    """Return the best trial that has ended well, or None."""
    try:
        return study.best_trial
    except ValueError:  # there is none
        return None


def drawn_by(trial: FrozenTrial) -> Any:
    """Return what draws again what a trial has drawn."""
    return optuna().trial.FixedTrial(trial.params)


def own(trial: Trial) -> None:
    """Note that this process runs a trial."""
    trial.set_user_attr(OWNER, json.dumps(this_process()))


def note_config(trial: Trial, config: Mapping[str, Any]) -> None:
    """Keep a trial's configuration, as far as JSON has it, for people who look at the study."""
    trial.set_user_attr(CONFIG, json.dumps(config, default=repr))


def _fixed(trial: FrozenTrial) -> Mapping[str, Any]:
    """Return what a trial has drawn, or will draw as it is queued."""
    queued: Mapping[str, Any] = trial.system_attrs.get("fixed_params", {})
    return {**queued, **trial.params}


def _point(values: Mapping[str, Any], names: Sequence[str]) -> str:
    return json.dumps([values.get(name) for name in names])
