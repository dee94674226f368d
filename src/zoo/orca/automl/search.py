"""Runs the trials of a search: each is an ordinary `fit`, in a thread, beside others.

Configurations are drawn in the thread that called, one after another, each with a seed of its own.
So a search that goes on from its storage draws what an unbroken one draws.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final

from zoo.orca.automl import study as studies
from zoo.orca.automl.goal import Goal
from zoo.orca.automl.kept import KeptModel
from zoo.orca.automl.space import draw
from zoo.orca.driver.reports.display import say
from zoo.orca.driver.reports.epochs import EpochEnd
from zoo.orca.driver.session.interrupts import Tagged
from zoo.orca.errors import ContextError, InvalidInputError, MissingPackageError

_logger = logging.getLogger(__name__)

#: Seconds until the thread that waits for trials looks up.
_TURN: Final = 0.2
#: Characters of a configuration that are shown.
_SHOWN: Final = 300


@dataclass(slots=True, kw_only=True)
class Ran:
    """What came of one trial.

    Parameters
    ----------
    estimator : object
        With the trained model; None if it failed.
    epochs : int
    value : float or None
        Of the last epoch.
    is_pruned : bool
    error : Exception or None
    is_fatal : bool
        Whether every other trial would fail, too.
    """

    estimator: Any = None
    epochs: int = 0
    value: float | None = None
    is_pruned: bool = False
    error: Exception | None = None
    is_fatal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """How a search's trials run.

    Parameters
    ----------
    make : callable
        Returns an estimator for a configuration.
    fit : callable
        ``fit(estimator, number, config, on_epoch, may_end)`` trains it, and calls `on_epoch` after
        each epoch; where it `may_end` early, it ends if `on_epoch` returns true.
    goal : Goal
    may_end : bool
        Whether trials may end early.
    """

    make: Callable[[dict[str, Any]], Any]
    fit: Callable[[Any, int, dict[str, Any], Callable[[EpochEnd], bool], bool], None]
    goal: Goal
    may_end: bool

    def run(self, trial: Any, config: dict[str, Any]) -> Ran:
        """Run one trial; its errors are a part of what came of it."""
        ran = Ran()

        def on_epoch(end: EpochEnd) -> bool:
            ran.epochs += 1
            try:
                ran.value = self.goal.value(end.logs)
            except InvalidInputError:
                ran.is_fatal = True
                raise
            if math.isnan(ran.value):
                raise FloatingPointError(f"{self.goal.metric} is not a number")
            trial.report(ran.value, ran.epochs)
            if not self.may_end or self.goal.is_met(ran.value):
                return self.may_end
            ran.is_pruned = bool(trial.should_prune())
            return ran.is_pruned

        try:
            estimator = self.make(config)
            self.fit(estimator, trial.number, config, on_epoch, self.may_end)
            ran.estimator = estimator
        except Exception as error:  # of a trial, and the search goes on
            ran.error = error
            ran.is_fatal = ran.is_fatal or isinstance(error, (ContextError, MissingPackageError))
        return ran


@dataclass(kw_only=True)
class Search:
    """One search: draws, runs and tells its trials.

    Parameters
    ----------
    study : optuna.Study
    space : dict
        The search space.
    trials : Trials
    sampler : callable
        Returns the sampler of a trial's number; None for the study's own.
    at_once : int
        Trials beside each other.
    kept : KeptModel
        Keeps the best model so far.
    jobs : Tagged
        The trials' jobs in Spark.
    timeout : float or None
        Seconds after which no trial begins.
    is_shown : bool
        Whether to print a line for each trial.
    """

    study: Any
    space: Mapping[str, Any]
    trials: Trials
    sampler: Callable[[int], Any]
    at_once: int
    kept: KeptModel
    jobs: Tagged
    timeout: float | None = None
    is_shown: bool = True
    _running: dict["Future[Ran]", tuple[Any, dict[str, Any]]] = field(default_factory=dict)
    _last: Exception | None = None

    def run(self, left: int) -> None:
        """Run so many trials, or without end for -1.

        Raises
        ------
        Exception
            What every trial would fail with; or that of the last trial, if none has ended well.
        """
        until = math.inf if self.timeout is None else time.monotonic() + self.timeout
        with ThreadPoolExecutor(self.at_once, thread_name_prefix="orca-trial") as pool:
            try:
                while self._running or (left and time.monotonic() < until):
                    while left and len(self._running) < self.at_once and time.monotonic() < until:
                        self._begin(pool)
                        left -= 1
                    done, _ = wait(self._running, _TURN, FIRST_COMPLETED)
                    for future in done:
                        ran = future.result()  # an interrupt leaves the trial to a later search
                        self._end(*self._running.pop(future), ran)
            except BaseException:
                self._abandon()
                raise
        if self._last is not None and studies.best_of(self.study) is None:
            self._last.add_note(
                "every trial of the search has failed; this is the last one's error"
            )
            raise self._last

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        """Draw a configuration, and begin its trial."""
        made = self.sampler(studies.begun(self.study))
        if made is not None:
            self.study.sampler = made
        trial = self.study.ask()
        studies.own(trial)
        try:
            config = draw(self.space, trial)
        except BaseException:
            self.study.tell(trial, state=studies.optuna().trial.TrialState.FAIL)
            raise
        studies.note_config(trial, config)
        call = self.jobs.call(lambda: self.trials.run(trial, config))
        self._running[pool.submit(call)] = (trial, config)

    def _end(self, trial: Any, config: dict[str, Any], ran: Ran) -> None:
        """Tell the study what came of a trial, and keep its model if it is the best."""
        state = studies.optuna().trial.TrialState
        if ran.error is not None:
            self._fail(trial, ran, config)
            return
        if ran.is_pruned:
            self.study.tell(trial, state=state.PRUNED)
            self._show(trial, f"was pruned after {_epochs(ran)}", ran, config)
            return
        best = studies.best_of(self.study)
        value = float("nan") if ran.value is None else ran.value
        if self.trials.goal.is_better(value, None if best is None else best.value):
            # Saved first: a study never names a best model that is not there.
            self.kept.keep(trial.number, config, ran.estimator)
        self.study.tell(trial, value)
        self.kept.tidy()
        self._show(trial, f"has ended after {_epochs(ran)}", ran, config)

    def _fail(self, trial: Any, ran: Ran, config: Mapping[str, Any]) -> None:
        error = ran.error
        told = f"{type(error).__name__}: {error}"
        trial.set_user_attr(studies.ERROR, told)
        self.study.tell(trial, state=studies.optuna().trial.TrialState.FAIL)
        # Not a Python warning: where those are errors, it would end the search.
        _logger.warning("trial %d failed: %s\n%s", trial.number, told, _short(config))
        self._last = error
        if ran.is_fatal and error is not None:
            raise error

    def _abandon(self) -> None:
        """End the trials that run, and leave them to a later search."""
        # no limit: each job ends as it would if its own thread were interrupted
        while wait(self._running, _TURN).not_done:
            self.jobs.cancel()
        for trial, _ in self._running.values():
            studies.leave(self.study, trial)
        self._running.clear()

    def _show(self, trial: Any, text: str, ran: Ran, config: Mapping[str, Any]) -> None:
        if self.is_shown:
            value = "" if ran.value is None else f", {self.trials.goal.metric} {ran.value:.4g}"
            say(f"trial {trial.number} {text}{value}: {_short(config)}")


def _epochs(ran: Ran) -> str:
    return f"{ran.epochs} epoch{'' if ran.epochs == 1 else 's'}"


def _short(config: Mapping[str, Any]) -> str:
    shown = repr(dict(config))
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
