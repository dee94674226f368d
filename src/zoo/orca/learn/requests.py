"""From the arguments of a call to a request: checked, complete, and not yet run."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeAlias, TypeVar

from pyspark.sql import DataFrame, SparkSession

from zoo.orca.driver import early_child
from zoo.orca.driver.elastic.calls import going_on
from zoo.orca.driver.frame.source import Prepared, prepare
from zoo.orca.driver.predict import Answer
from zoo.orca.driver.reports.epochs import Epochs, Stop, listeners
from zoo.orca.driver.request import PredictRequest, Request
from zoo.orca.driver.runs import FitRecord, left_over, new_run
from zoo.orca.driver.session.cluster import nodes, threads_per_task
from zoo.orca.driver.session.pythons import child_environment
from zoo.orca.driver.session.settings import (
    data_memory,
    max_result_bytes,
    transform_processes,
)
from zoo.orca.driver.stage import StageSettings
from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import (
    check_bounded,
    check_checkpoints,
    check_installed,
    check_shuffle,
    check_stop,
    checked_name,
    packed_callbacks,
    positive,
    verbosity,
)
from zoo.orca.learn.forms.creators import Creators, check_share, frame_for
from zoo.orca.learn.options import EngineOptions
from zoo.orca.refusals import is_rehearsed, noted, refuse
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import (
    BuildJob,
    EvaluateJob,
    Job,
    ModelSpec,
    Placement,
    PredictCreatedJob,
    PredictJob,
    TrainJob,
)
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State
from zoo.orca.wire.predicting.column_forms import ColumnForm

AnyJob = TypeVar("AnyJob", bound=Job)
RowsJob: TypeAlias = TrainJob | EvaluateJob | PredictCreatedJob

_TITLES: dict[type[Job], str] = {
    TrainJob: "fit",
    EvaluateJob: "evaluate",
    PredictCreatedJob: "predict",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What a call over rows was given, checked; `fields` are its job's own."""

    kind: type[RowsJob]
    state: State | None
    data: DataFrame
    spec: FeatureSpec
    validation: DataFrame | None
    creators: Creators | None
    verbose: int
    shuffle: bool
    name: str
    fields: Mapping[str, Any]

    @property
    def spark(self) -> SparkSession:
        return self.data.sparkSession


class Requests:
    """Makes the requests of one estimator's calls.

    Parameters
    ----------
    model : ModelSpec
    options : EngineOptions
    """

    def __init__(self, model: ModelSpec, options: EngineOptions) -> None:
        self._model, self._options = model, options

    @cached_property
    def fingerprint(self) -> str:
        """The model's fingerprint; a large module, pickled, takes a while to read."""
        return self._model.fingerprint()

    def fit(
        self,
        state: State | None,
        data: DataFrame,
        spec: FeatureSpec,
        validation: DataFrame | None,
        *,
        epochs: int,
        batch_size: int,
        steps_per_epoch: int | None,
        validation_steps: int | None,
        callbacks: Sequence[Any] | None,
        checkpoint_steps: int | None,
        checkpoint_seconds: float | None,
        resume: bool,
        initial_epoch: int,
        creators: Creators | None = None,
        stop: Stop | None = None,
        **fields: Any,
    ) -> Request:
        """Check the arguments that every `fit` has; `fields` are more of the request's."""
        epochs = positive("epochs", epochs)
        batch_size = positive("batch_size", batch_size)
        steps_per_epoch = positive("steps_per_epoch", steps_per_epoch, optional=True)
        validation_steps = positive("validation_steps", validation_steps, optional=True)
        check_checkpoints(checkpoint_steps, checkpoint_seconds, resume, self._options.model_dir)
        check_stop(stop)
        model_dir, record, run = self._options.model_dir, None, ""
        if model_dir is not None:
            decisive = {"batch_size": batch_size, "steps_per_epoch": steps_per_epoch}
            record = self._record(spec, creators, initial_epoch=initial_epoch, **decisive)
            if resume:
                run = left_over(model_dir, record, data)
        request = self.over_rows(
            TrainJob,
            state,
            data,
            spec,
            validation,
            batch_size=batch_size,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            callbacks=packed_callbacks(callbacks),
            max_state_bytes=max_result_bytes(data.sparkSession),
            model_dir=model_dir,
            run=run or new_run(),
            checkpoint_steps=checkpoint_steps,
            checkpoint_seconds=checkpoint_seconds,
            initial_epoch=initial_epoch,
            creators=creators,
            asks=stop is not None,
            rounds_gradients=self._options.gradient_dtype == "bfloat16",
            **fields,
        )
        heard = Epochs(listeners(), initial_epoch, stop)
        return replace(request, record=record, epochs=heard)

    def _record(self, spec: FeatureSpec, creators: Creators | None, **decisive: Any) -> FitRecord:
        """Return what a later `fit` must be to go on with this one."""
        columns = spec.to_json()
        if creators is not None:
            columns = {"creator": creators.data.fingerprint()}
        return FitRecord(
            model=self.fingerprint,
            columns=json.dumps(columns, sort_keys=True),
            seed=self._options.seed,
            **decisive,
        )

    def evaluate(
        self,
        state: State | None,
        data: DataFrame,
        spec: FeatureSpec,
        *,
        batch_size: int,
        num_steps: int | None,
        callbacks: Sequence[Any] | None,
        **fields: Any,
    ) -> Request:
        """Check the arguments that every `evaluate` has; `fields` are more of the request's."""
        batch_size = positive("batch_size", batch_size)
        num_steps = positive("num_steps", num_steps, optional=True)
        return self.over_rows(
            EvaluateJob,
            state,
            data,
            spec,
            batch_size=batch_size,
            steps=num_steps,
            callbacks=packed_callbacks(callbacks),
            **fields,
        )

    def predict_created(
        self, state: State | None, data: DataFrame, creators: Creators, batch_size: int
    ) -> Request:
        """Return a call that predicts a creator's batches at once."""
        return self.over_rows(
            PredictCreatedJob,
            state,
            data,
            FeatureSpec(features=()),
            verbose=0,
            batch_size=batch_size,
            creators=creators,
        )

    def over_rows(
        self,
        kind: type[RowsJob],
        state: State | None,
        data: DataFrame,
        spec: FeatureSpec,
        validation: DataFrame | None = None,
        *,
        verbose: int | str,
        batch_size: int,
        shuffle: bool | None = None,
        name: str | None = None,
        creators: Creators | None = None,
        **fields: Any,
    ) -> Request:
        """Return a complete call over the rows of `data`, checked against schema and cluster."""
        check_shuffle(shuffle)
        check_bounded(_TITLES[kind], data, validation)
        call = _Call(
            kind=kind,
            state=state,
            data=data,
            spec=spec,
            validation=validation,
            creators=creators,
            verbose=verbosity(verbose),
            # Rows that stay where they are have an order that depends on the workers.
            shuffle=bool(shuffle) or (kind is TrainJob and self._options.min_workers is not None),
            name=checked_name(name),
            fields={**fields, "batch_size": batch_size},
        )
        check_installed(self._model.framework, self._options.environment, call.spark)
        wanted = self.workers(call.spark)
        self._options.check_least(wanted)
        self.begin(call.spark, wanted)
        return self._request(call, wanted, wanted)

    def _request(self, call: _Call, workers: int, wanted: int) -> Request:
        """Return a call as a stage of so many workers; it goes on with fewer than it `wanted`."""
        frame, placement = self._placed(call, workers)
        job = self._job(
            call.kind,
            call.state,
            call.spec,
            call.spark,
            placement=placement,
            **self._own_fields(call),
            **call.fields,
        )
        settings = self._settings(call.verbose, workers, call.name, wanted)
        title, least = _TITLES[call.kind], self._options.min_workers
        anew = replace(call, shuffle=True)
        is_placed = placement is Placement.AT_RANDOM
        return Request(
            title=title,
            frame=frame,
            job=job,
            settings=settings,
            at_random=None if is_placed else partial(self._request, anew, workers, wanted),
            elastic=None if least is None else going_on(title, job, settings, least, call.spark),
            with_workers=lambda count: self._request(anew, count, wanted),
            rows=call.data,
            validation=call.validation,
        )

    def _placed(self, call: _Call, workers: int) -> Prepared:
        """Return the rows of a call: moved to random workers, or in their even partitions."""
        batch_size = call.fields["batch_size"]
        if call.creators is not None:
            return self._without_rows(call.spark, workers, batch_size)
        # A stream, which only a rehearsal has here, tells no partitions.
        is_stream = is_rehearsed() and call.data.isStreaming
        return prepare(
            call.data,
            call.spec,
            workers,
            self._options.seed,
            call.validation,
            batch_size=batch_size if call.kind is TrainJob else None,
            shuffle=call.shuffle or is_stream,
        )

    def _own_fields(self, call: _Call) -> dict[str, Any]:
        """Return what a job knows of its validation, transform and creators."""
        is_fit = call.kind is TrainJob
        found: dict[str, Any] = {"validate": call.validation is not None} if is_fit else {}
        if self._model.transform is not None:
            found["transform_processes"] = transform_processes(call.spark)
        if call.creators is not None:
            found.update(call.creators.fields(is_fit))
        return found

    def _without_rows(self, spark: SparkSession, workers: int, batch_size: int) -> Prepared:
        """Return the frame of a call whose workers make their batches themselves."""
        check_share(batch_size, workers)
        if self._model.transform is not None:
            refuse(
                InvalidInputError(
                    "batch_transform changes columns, and data is a creator, whose batches have "
                    "none\nCall the transform inside the creator"
                )
            )
        return Prepared(frame_for(spark, workers), Placement.AT_RANDOM)

    def predict(
        self,
        state: State | None,
        data: DataFrame,
        spec: FeatureSpec,
        columns: Sequence[str],
        *,
        batch_size: int | None,
        outputs: tuple[OutputSpec, ...],
        inputs: FeatureSpec | None,
        answer: Answer,
        forms: tuple[ColumnForm, ...],
    ) -> PredictRequest:
        """Return lazy predictions under the names `columns`."""
        spark = data.sparkSession
        threads = threads_per_task(spark)
        own: dict[str, Any] = {"batch_size": batch_size, "outputs": outputs, "threads": threads}
        job = self._job(PredictJob, state, spec, spark, inputs=inputs, **own)
        names = tuple(columns)
        return PredictRequest(data=data, job=job, columns=names, answer=answer, forms=forms)

    def build(self, state: State | None, frame: DataFrame, spec: FeatureSpec) -> Request:
        """Return a call on one worker with the rows of `frame`."""
        return Request(
            title="build",
            frame=frame,
            job=self._job(BuildJob, state, spec, frame.sparkSession),
            settings=self._settings(0, 1, ""),
        )

    def begin(self, spark: SparkSession, workers: int) -> None:
        """Let what takes long in a session's first stage of so many workers begin already."""
        if not is_rehearsed():
            job = self._job(BuildJob, None, FeatureSpec(features=()), spark)
            early_child.begin(spark, job, workers)

    def workers(self, spark: SparkSession | None) -> int:
        """Return the number of workers of a stage in a session."""
        options = self._options
        if options.num_workers is not None:
            return options.num_workers
        return options.workers_per_node * (1 if spark is None else nodes(spark))

    def _settings(self, verbose: int, workers: int, name: str, wanted: int = 0) -> StageSettings:
        options = self._options
        return StageSettings(
            workers=workers,
            verbose=verbose,
            log_to_driver=options.log_to_driver,
            cpu_binding=options.cpu_binding,
            name=name,
            wanted=wanted,
        )

    def _job(
        self,
        kind: Callable[..., AnyJob],
        state: State | None,
        spec: FeatureSpec,
        spark: SparkSession,
        **fields: Any,
    ) -> AnyJob:
        """Return a job with all its fields."""
        noted()(self._model.check)()
        return kind(
            model=self._model,
            columns=spec,
            state=state.to_bytes() if state else None,
            seed=self._options.seed,
            environment={**child_environment(spark), **self._options.environment},
            noise=self._options.noise,
            data_memory=data_memory(spark),
            gpus=self._options.num_gpus_per_worker,
            **fields,
        )
