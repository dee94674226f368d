"""The one estimator: what every framework's estimator does, whatever the framework.

A framework's estimator (`zoo.orca.learn.tf2.Estimator`) adds the original signatures and their
quirks, turns them into the jobs of `zoo.orca.wire.job`, and knows nothing more.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from pyspark.sql import DataFrame

from zoo.orca.driver.display import say
from zoo.orca.driver.predict import predict_lazily
from zoo.orca.driver.settings import max_result_bytes
from zoo.orca.driver.slots import active_session, default_nodes, threads_per_task
from zoo.orca.driver.source import (
    ORIGIN,
    ColumnNames,
    column_names,
    prepare,
    with_a_row,
    without_rows,
)
from zoo.orca.driver.stage import StageSettings, run_stage
from zoo.orca.driver.storage import load_state, save_state
from zoo.orca.driver.timings import describe
from zoo.orca.errors import InvalidInputError, RowsNeededError, StateError, UnevenRowsError
from zoo.orca.files import read_bytes, remove_directory
from zoo.orca.learn.arguments import (
    check_bounded,
    check_installed,
    checked_frame,
    checked_name,
    packed_callbacks,
    positive,
)
from zoo.orca.learn.options import EngineOptions
from zoo.orca.learn.outputs import OutputNames, prediction_columns
from zoo.orca.learn.results import TrainingStats
from zoo.orca.wire.features import FeatureSpec, fill_shapes
from zoo.orca.wire.job import (
    BuildJob,
    EvaluateJob,
    Job,
    ModelSpec,
    PredictJob,
    TrainJob,
)
from zoo.orca.wire.messages.results import Outcome
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State

AnyJob = TypeVar("AnyJob", bound=Job)

#: Where a state's header keeps the columns, with the shapes that rows turned out to have, the
#: model's outputs, and which model's they are.
_COLUMNS, _OUTPUTS, _MODEL = "columns", "outputs", "model"


class BaseEstimator:
    """Trains, evaluates and predicts one model on DataFrames.

    Use a framework's estimator, for example `zoo.orca.learn.tf2.Estimator.from_keras`.
    """

    def __init__(self, model: ModelSpec, options: EngineOptions) -> None:
        options.check()
        # Once more where there is a DataFrame: it may bring the session that is not there yet.
        check_installed(model.framework, options.environment, active_session())
        self._model = model
        self._options = options
        self._state: State | None = None

    @property
    def num_workers(self) -> int:
        """Workers of a `fit` or `evaluate`, each one task with one child process."""
        if self._options.num_workers is not None:
            return self._options.num_workers
        return self._options.workers_per_node * default_nodes()

    def save(self, path: str) -> str:
        """Write weights, optimizer state, epoch and step to one safetensors file.

        Parameters
        ----------
        path : str
            A local path or any URL that pyarrow or fsspec opens. The name may end in anything
            but a framework's own formats.

        Returns
        -------
        str
            `path`.

        Raises
        ------
        StateError
            If there is nothing to save before the first `fit` or `load`.
        """
        save_state(self._required_state("save"), str(path))
        return path

    def load(self, path: str) -> None:
        """Read what `save` wrote: a following `fit` goes on as if it were the same session.

        Raises
        ------
        StateError
            If the file cannot be read, or is of another framework.
        """
        state = load_state(str(path))
        framework = state.meta.get("framework")
        if framework != self._model.framework:
            raise StateError(
                f"{path} was saved by framework {framework!r}, not {self._model.framework!r}"
            )
        self._adopt(state)

    def shutdown(self) -> None:
        """Let go of what is held on the cluster; saving, loading and predicting still work.

        Children of the workers end by themselves when Spark ends their idle Python workers, a
        minute after their last task, or with the session.
        """

    def _fit_frame(
        self,
        data: DataFrame,
        spec: FeatureSpec,
        validation_data: DataFrame | None,
        *,
        epochs: int,
        batch_size: int,
        steps_per_epoch: int | None,
        validation_steps: int | None,
        callbacks: Sequence[Any] | None,
        shuffle: bool | None,
        name: str | None = None,
        **fields: Any,
    ) -> TrainingStats:
        """Check the arguments that every `fit` has, and train; `fields` are more of the job's."""
        positive("epochs", epochs)
        positive("batch_size", batch_size)
        positive("steps_per_epoch", steps_per_epoch, optional=True)
        positive("validation_steps", validation_steps, optional=True)
        validation = None
        if validation_data is not None:
            validation = checked_frame(validation_data, "validation_data")
        job = self._job(
            TrainJob,
            spec,
            batch_size=batch_size,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            validate=validation is not None,
            validation_steps=validation_steps,
            callbacks=packed_callbacks(callbacks),
            max_state_bytes=max_result_bytes(data.sparkSession),
            model_dir=self._options.model_dir,
            run=f"fit-{uuid.uuid4().hex[:12]}",
            **fields,
        )
        return self._train(data, validation, job, shuffle=shuffle, name=name)

    def _evaluate_frame(
        self,
        data: DataFrame,
        spec: FeatureSpec,
        *,
        batch_size: int,
        num_steps: int | None,
        callbacks: Sequence[Any] | None,
        name: str | None = None,
        **fields: Any,
    ) -> dict[str, float]:
        """Check the arguments that every `evaluate` has, and evaluate."""
        positive("batch_size", batch_size)
        positive("num_steps", num_steps, optional=True)
        packed = packed_callbacks(callbacks)
        job = self._job(
            EvaluateJob, spec, batch_size=batch_size, steps=num_steps, callbacks=packed, **fields
        )
        return self._evaluate(data, job, name)

    @property
    def _epochs_done(self) -> int:
        """Epochs that the state has behind it, over all calls of `fit`."""
        return int(self._state.meta.get("epoch", 0)) if self._state else 0

    @property
    def _steps_done(self) -> int:
        """Training steps that the state has behind it, over all calls of `fit`."""
        return int(self._state.meta.get("step", 0)) if self._state else 0

    def _train(
        self,
        data: DataFrame,
        validation: DataFrame | None,
        job: TrainJob,
        *,
        shuffle: bool | None = None,
        name: str | None = None,
    ) -> TrainingStats:
        if shuffle is False:
            raise InvalidInputError(
                "shuffle=False is not there: every epoch takes the rows in a new order\n"
                "Leave shuffle out: then a DataFrame that has one partition for each worker stays "
                "where it is. shuffle=True places its rows on the workers at random"
            )
        outcome = self._run(data, job, validation, bool(shuffle), "fit", name)
        self._adopt(State.from_bytes(_state_of(outcome)), outcome)
        if outcome.profiles:
            say(describe(outcome.profiles))
        return TrainingStats(outcome.history, [asdict(one) for one in outcome.profiles])

    def _evaluate(
        self, data: DataFrame, job: EvaluateJob, name: str | None = None
    ) -> dict[str, float]:
        outcome = self._run(data, job, None, False, "evaluate", name)
        return {f"validation_{name}": value for name, value in outcome.metrics.items()}

    def _predict(
        self,
        data: DataFrame,
        spec: FeatureSpec,
        batch_size: int | None,
        names: OutputNames | None,
    ) -> DataFrame:
        if self._state is None or not self._outputs:
            self._build(data, spec)
        outputs = self._outputs
        columns = prediction_columns(outputs, names)
        threads = threads_per_task(data.sparkSession)
        job = self._job(PredictJob, spec, batch_size=batch_size, outputs=outputs)
        job = replace(job, threads=threads, gpus=self._options.num_gpus_per_worker)
        return predict_lazily(data, job, columns)

    def _build(self, data: DataFrame, spec: FeatureSpec) -> None:
        """Build the model once, on one worker, for its weights and its outputs.

        The columns' types are enough for most models; only one that is built by its first rows may
        need a row to know the length of an array.
        """
        check_installed(self._model.framework, self._options.environment, data.sparkSession)
        seen = self._seen_columns
        if seen is not None:
            spec = fill_shapes(spec, {column.name: column.shape for column in seen.features})
        job = self._job(BuildJob, spec)
        settings = replace(self._settings(verbose=0), workers=1)
        try:
            outcome = run_stage(without_rows(data, spec), job, settings, "build")
        except RowsNeededError:
            if data.isStreaming:
                raise
            outcome = run_stage(with_a_row(data, spec), job, settings, "build")
        self._adopt(self._state or State.from_bytes(outcome.state), outcome)

    def _adopt(self, state: State, outcome: Outcome | None = None) -> None:
        """Go on with `state`; what a stage has learnt about columns and outputs goes along."""
        if outcome:
            state.meta[_COLUMNS] = outcome.columns.to_json()
            state.meta[_OUTPUTS] = [output.to_json() for output in outcome.outputs]
            state.meta[_MODEL] = self._model.fingerprint()
        else:
            # The same weights may be those of a model that returns something else by now. What it
            # returns is asked when it is needed.
            if state.meta.get(_MODEL) != self._model.fingerprint():
                state.meta.pop(_OUTPUTS, None)
            if self._state and _COLUMNS in self._state.meta:
                state.meta.setdefault(_COLUMNS, self._state.meta[_COLUMNS])
        self._state = state

    @property
    def _outputs(self) -> tuple[OutputSpec, ...]:
        """The model's outputs; none while they are not known."""
        found = self._state.meta.get(_OUTPUTS, []) if self._state else []
        return tuple(map(OutputSpec.from_json, found))

    @property
    def _seen_columns(self) -> FeatureSpec | None:
        """The columns that the model has seen, or None."""
        found = self._state.meta.get(_COLUMNS) if self._state else None
        return None if found is None else FeatureSpec.from_json(found)

    def _known_columns(
        self, feature_cols: ColumnNames | None, label_cols: ColumnNames | None = None
    ) -> tuple[ColumnNames | None, ColumnNames | None]:
        """Return the arguments; those that are not given are what the model has seen."""
        seen = self._seen_columns
        if seen is not None and feature_cols is None and seen.features:
            feature_cols = column_names(seen.features, seen.feature_keys)
        if seen is not None and label_cols is None and seen.labels:
            label_cols = column_names(seen.labels, seen.label_keys)
        return feature_cols, label_cols

    def _driver_job(self) -> Job:
        """Return a job for this process: no rows, but the columns that the model has seen."""
        return self._job(Job, self._seen_columns or FeatureSpec(features=()))

    def _run(
        self,
        data: DataFrame,
        job: TrainJob | EvaluateJob,
        validation: DataFrame | None,
        shuffle: bool,
        title: str,
        name: str | None,
    ) -> Outcome:
        """Run a stage over the rows: moved to their workers at random, or where they are already.

        Those that stay must lie evenly there.
        """
        check_bounded(title, data, validation)
        check_installed(self._model.framework, self._options.environment, data.sparkSession)
        workers = self.num_workers
        settings = replace(self._settings(job.verbose), name=checked_name(name))
        frame = prepare(data, job.columns, workers, job.seed, validation, shuffle=shuffle)
        if ORIGIN in frame.columns:
            return run_stage(frame, replace(job, level=True), settings, title)
        try:
            return run_stage(frame, replace(job, even=True), settings, title)
        except UnevenRowsError:
            # One large row group of a file is enough: nobody knows before the rows were read.
            frame = prepare(data, job.columns, workers, job.seed, validation, shuffle=True)
            return run_stage(frame, replace(job, level=True), settings, title)

    def _settings(self, verbose: int) -> StageSettings:
        options = self._options
        return StageSettings(
            workers=self.num_workers,
            verbose=verbose,
            log_to_driver=options.log_to_driver,
            cpu_binding=options.cpu_binding,
            gpus=options.num_gpus_per_worker,
        )

    def _job(self, kind: Callable[..., AnyJob], spec: FeatureSpec, **fields: Any) -> AnyJob:
        return kind(
            model=self._model,
            columns=spec,
            state=self._state.to_bytes() if self._state else None,
            seed=self._options.seed,
            threads=0,
            environment=dict(self._options.environment),
            noise=self._options.noise,
            **fields,
        )

    def _required_state(self, what: str) -> State:
        if self._state is None:
            raise StateError(f"there is nothing to {what} yet\nCall fit or load first")
        return self._state


def _state_of(outcome: Outcome) -> bytes:
    """Return the state that came with the rows, or through `model_dir` for its size."""
    path = outcome.state_at
    if not path:
        return outcome.state
    data = read_bytes(path)
    remove_directory(path.rpartition("/")[0])
    return data
