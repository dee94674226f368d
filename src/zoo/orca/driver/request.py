"""A call of `fit`, `evaluate` or `predict`, checked and complete, before anything runs.

The request holds all that the call will do: the rows, their placement, the job with every field,
and how the stage runs. No other file adds anything later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pyspark.sql import DataFrame

from zoo.orca.driver.elastic.rounds import Elastic
from zoo.orca.driver.predict import Answer, predict_lazily
from zoo.orca.driver.reports.epochs import Epochs
from zoo.orca.driver.runs import FitRecord
from zoo.orca.driver.session.readiness import Readiness, check_readiness
from zoo.orca.driver.stage import StageSettings, run_stage
from zoo.orca.errors import UnevenRowsError
from zoo.orca.wire.job import Job, PredictJob
from zoo.orca.wire.messages.results import Outcome
from zoo.orca.wire.predicting.column_forms import ColumnForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One barrier stage.

    Parameters
    ----------
    title : str
        What the stage is called in Spark's UI and in the progress.
    frame : DataFrame
        The rows, a partition for each worker, as `zoo.orca.driver.frame.source.prepare` returns
        them.
    job : Job
    settings : StageSettings
    at_random : callable or None
        Returns the same request with rows placed at random; None if they are already.
    record : FitRecord or None
        What a `fit` is, for the checkpoints that it leaves behind if it does not end.
    elastic : Elastic or None
        How it goes on with fewer workers; None: it does not.
    with_workers : callable or None
        Returns the same request for so many workers, if it is elastic.
    epochs : Epochs
        Who hears of a `fit`'s epochs.
    rows, validation : DataFrame or None
        The user's own frames, which `frame` was made of.
    """

    title: str
    frame: DataFrame
    job: Job
    settings: StageSettings
    at_random: Callable[[], Request] | None = None
    record: FitRecord | None = None
    elastic: Elastic | None = None
    with_workers: Callable[[int], Request] | None = None
    epochs: Epochs = field(default_factory=Epochs)
    rows: DataFrame | None = None
    validation: DataFrame | None = None

    def check(self) -> Readiness:
        """Check what `run` checks of the session before anything starts there.

        Raises
        ------
        OrcaError
            As `zoo.orca.driver.session.readiness.check_readiness`.
        """
        # An elastic call begins with the workers that fit.
        least = self.settings.workers if self.elastic is None else self.elastic.least
        return check_readiness(self.frame.sparkSession, least, self.job.gpus)

    def run(self) -> Outcome:
        """Run the stage, and again with the workers that fit, if it is elastic.

        Raises
        ------
        OrcaError
            As `zoo.orca.driver.stage.run_stage`.
        """
        with self.epochs.to_the_end():
            if self.elastic is None or self.with_workers is None:
                outcome = self._run(self.epochs)
            else:
                outcome = self.elastic.run(self._run_with)
            self.epochs.finish(outcome.epochs)
        return outcome

    def _run_with(self, workers: int) -> Outcome:
        if self.with_workers is None or workers == self.settings.workers:
            return self._run(self.epochs)
        return self.with_workers(workers)._run(self.epochs)

    def _run(self, epochs: Epochs) -> Outcome:
        """Run the stage; if its rows turn out to be uneven, run it with rows placed at random."""
        try:
            return run_stage(self.frame, self.job, self.settings, self.title, epochs)
        except UnevenRowsError:
            # One large row group of a file is enough. Only the workers can tell: they read it.
            if self.at_random is None:
                raise
            return self.at_random()._run(epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """Lazy predictions.

    Parameters
    ----------
    data : DataFrame
    job : PredictJob
    columns : tuple of str
        The names of the outputs' columns.
    answer : Answer
    forms : tuple of ColumnForm or None
        What each of these columns holds; None: what is usual.
    """

    data: DataFrame
    job: PredictJob
    columns: tuple[str, ...]
    answer: Answer = Answer()
    forms: tuple[ColumnForm, ...] | None = None

    def run(self) -> DataFrame:
        """Return the DataFrame with its predictions; nothing runs until an action.

        Raises
        ------
        ColumnError, DeviceError
            As `zoo.orca.driver.predict.predict_lazily`.
        """
        return predict_lazily(self.data, self.job, self.columns, self.answer, self.forms)
