"""The base estimator: what every framework's estimator does.

A framework's estimator (`zoo.orca.learn.tf2.Estimator`) adds only the original signatures and their
quirks, and turns them into the jobs of `zoo.orca.wire.job`.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, cast

from pyspark.sql import DataFrame

from zoo.orca.context.sessions import known_session
from zoo.orca.driver.frame.padding import check_lengths, with_lengths
from zoo.orca.driver.frame.source import (
    ColumnNames,
    column_names,
    read_spec,
    with_a_row,
    without_rows,
)
from zoo.orca.driver.predict import Answer
from zoo.orca.driver.reports.display import say
from zoo.orca.driver.reports.timings import describe
from zoo.orca.driver.request import PredictRequest, Request
from zoo.orca.driver.storage import load_state, save_state
from zoo.orca.errors import (
    DataError,
    InvalidInputError,
    RowsNeededError,
    StateError,
)
from zoo.orca.learn.arguments import check_installed
from zoo.orca.learn.files.made import made_state
from zoo.orca.learn.files.recorded import recorded, remove_checkpoints, state_of
from zoo.orca.learn.forms.creators import Creators
from zoo.orca.learn.forms.entry import Entered, entered
from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.options import EngineOptions
from zoo.orca.learn.outputs import (
    OutputNames,
    asks_for_whole,
    predicted_arrays,
    prediction_columns,
    with_whole,
)
from zoo.orca.learn.planning.planned import Planned
from zoo.orca.learn.predicting.output_types import AS_USUAL, Asks
from zoo.orca.learn.requests import Requests
from zoo.orca.learn.results import TrainingStats
from zoo.orca.learn.streams.trainer import TrainsOnStreams
from zoo.orca.learn.tracking.tracked import Tracked
from zoo.orca.refusals import ready
from zoo.orca.wire.faults import NO_ROW_TO_TRANSFORM, NO_ROWS
from zoo.orca.wire.features import FeatureSpec, fill_shapes
from zoo.orca.wire.job import Job, ModelSpec, TrainJob
from zoo.orca.wire.messages.results import Outcome
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State

#: Keys of a state's header: the columns with the shapes of the rows, what the model's transform
#: makes of them, the model's outputs, and the model that has these outputs.
_COLUMNS, _INPUTS, _OUTPUTS, _MODEL = "columns", "inputs", "outputs", "model"


#: File endings of frameworks' own formats.
_FORMATS = (".keras", ".h5", ".pt", ".pth")

#: Rows of a creator's batches over all workers, if the call names no number, as in Keras.
_BATCH_SIZE = 32


class BaseEstimator(Tracked, Planned, TrainsOnStreams):
    """Trains, evaluates and predicts one model on DataFrames.

    Use a framework's estimator, for example `zoo.orca.learn.tf2.Estimator.from_keras`.
    """

    def __init__(self, model: ModelSpec, options: EngineOptions) -> None:
        options.check()
        # This is checked again with a DataFrame, because there may be no session yet.
        check_installed(model.framework, options.environment, known_session())
        self._model = model
        self._options = options
        self._requests = Requests(model, options)
        self._state: State | None = None
        #: Whether the user makes the model; else `load` brings it.
        self._makes_model = bool(model.creator)

    @property
    def num_workers(self) -> int:
        """Workers of a `fit` or `evaluate`, each one task with one child process.

        The default follows the session that Orca started or adopted. A call follows the session of
        its DataFrame.
        """
        return self._requests.workers(known_session())

    def save(self, path: str) -> str:
        """Write weights, optimizer state, epoch and step to one safetensors file.

        Parameters
        ----------
        path : str
            A local path or any URL that pyarrow or fsspec opens. The name must not end in a
            framework's own format.

        Returns
        -------
        str
            `path`.

        Raises
        ------
        InvalidInputError
            If the name ends in another framework's own format.
        """
        self._write(self._made_state(), str(path))
        return path

    def _write(self, state: State, path: str) -> None:
        """Write a state to one file, unless its name is of another framework."""
        stem, dot, ending = path.rpartition(".")
        if f"{dot}{ending}" in _FORMATS:
            raise InvalidInputError(
                f"{path} ends in .{ending}, which is a format of another framework than the "
                f"model's\nSave the estimator's state under another name: {stem}.safetensors"
            )
        save_state(state, path)

    def load(self, path: str) -> None:
        """Read what `save` wrote: the next `fit` continues as if it were the same session.

        Raises
        ------
        StateError
            If the file cannot be read, or is from another framework.
        """
        self._model.check()
        self._adopt(self._read_state(path))

    def _read_state(self, path: str) -> State:
        """Return the state that `save` wrote, if it is of the estimator's framework."""
        state = load_state(str(path))
        framework = state.meta.get("framework")
        if framework != self._model.framework:
            raise StateError(
                f"{path} was saved by framework {framework!r}, not {self._model.framework!r}\n"
                "Load it with an estimator of the framework that saved it"
            )
        return state

    def save_checkpoint(self, checkpoint: str) -> str:
        """Write the state as `save` does, whatever the name's ending; return the path."""
        save_state(self._made_state(), str(checkpoint))
        return checkpoint

    def load_checkpoint(self, checkpoint: str) -> None:
        """Read what `save_checkpoint`, `save` or a `ModelCheckpoint` wrote."""
        try:
            state = self._read_state(checkpoint)
        except StateError:
            self.load(checkpoint)  # a file of the framework's own
        else:
            self._adopt(state)

    def shutdown(self) -> None:
        """Release what is held on the cluster; saving, loading and predicting still work.

        Workers' children end by themselves when Spark ends their idle Python workers, a minute
        after their last task, or with the session.
        """

    @property
    def _epochs_done(self) -> int:
        """Epochs that the state has trained, over all calls of `fit`."""
        return int(self._state.meta.get("epoch", 0)) if self._state else 0

    @property
    def _steps_done(self) -> int:
        """Steps that the state has trained, over all calls of `fit`."""
        return int(self._state.meta.get("step", 0)) if self._state else 0

    def _train(self, request: Request, *, keep: bool = False) -> TrainingStats:
        """Train, and adopt what comes of it; `keep` leaves the state in `model_dir`."""
        ready(request)
        job = cast(TrainJob, request.job)
        self._summarise(request.epochs)
        with recorded(job, request):
            outcome = request.run()
            self._adopt(state_of(outcome), outcome)
        if keep and job.model_dir:
            kept = f"{job.model_dir}/model.{self._steps_done}.safetensors"
            save_state(self._required_state("keep"), kept)
        remove_checkpoints(job, "the training is done")
        if outcome.timings:
            say(describe(outcome.timings))
        return TrainingStats(
            outcome.history,
            [asdict(one) for one in outcome.timings],
            "canonical" if outcome.is_canonical else "as placed",
            first_epoch=job.initial_epoch,
            validation_freq=job.validation_freq,
        )

    def _evaluate(self, request: Request) -> dict[str, float]:
        return {f"validation_{name}": value for name, value in request.run().metrics.items()}

    def _predict_created(self, frame: DataFrame, creators: Creators, batch_size: int | None) -> Any:
        """Predict a creator's batches at once; return numpy arrays."""
        request = self._requests.predict_created(
            self._state, frame, creators, batch_size or _BATCH_SIZE
        )
        outcome = request.run()
        return predicted_arrays(State.from_bytes(outcome.state), outcome.outputs)

    def _predict(
        self,
        given: Entered,
        spec: FeatureSpec,
        batch_size: int | None,
        names: OutputNames | None,
        wanted: Asks = AS_USUAL,
    ) -> Any:
        """Return predictions in the form that the rows came in."""
        request = self._prediction(given.frame, spec, batch_size, names, given.asks, wanted)
        found = request.run()
        if asks_for_whole(self._outputs, names):
            found = with_whole(found, request.columns)
        return given.answer(found)

    def _prediction(
        self,
        frame: DataFrame,
        spec: FeatureSpec,
        batch_size: int | None,
        names: OutputNames | None,
        answer: Answer,
        wanted: Asks,
    ) -> PredictRequest:
        """Return the request of a prediction; build the model where its outputs are unknown."""
        check_lengths(spec)
        if self._state is None or not self._outputs:
            self._build(frame, spec)
        forms = wanted.forms(self._outputs, answer.has_vectors)
        return self._requests.predict(
            self._state,
            frame,
            spec,
            prediction_columns(self._outputs, names),
            batch_size=batch_size,
            outputs=self._outputs,
            inputs=self._inputs,
            answer=answer,
            forms=forms,
        )

    def _build(self, data: DataFrame, spec: FeatureSpec) -> None:
        """Build the model once, on one worker, for its weights and outputs.

        The columns' types are enough for most models. Only a model that is built from its first
        rows may need a row, to know the length of an array.
        """
        check_installed(self._model.framework, self._options.environment, data.sparkSession)
        self._requests.begin(data.sparkSession, 1)
        seen = self._seen_columns
        if seen is not None:
            spec = fill_shapes(spec, {c.name: c.shape for c in seen.features if c.padding is None})
        try:
            if self._model.transform is not None:
                raise RowsNeededError(NO_ROW_TO_TRANSFORM)
            outcome = self._requests.build(self._state, without_rows(data, spec), spec).run()
        except RowsNeededError as needed:
            if data.isStreaming:
                raise
            outcome = self._build_from_a_row(data, spec, needed)
        if seen is not None and seen.features:
            # A build has no labels, and this call may name other columns than training did.
            outcome = replace(outcome, columns=seen)
        self._adopt(self._state or State.from_bytes(outcome.state), outcome)

    def _build_from_a_row(
        self, data: DataFrame, spec: FeatureSpec, needed: RowsNeededError
    ) -> Outcome:
        """Build the model with a row; if there is none, say what it was needed for."""
        try:
            return self._requests.build(self._state, with_a_row(data, spec), spec).run()
        except DataError as error:
            if str(error) != NO_ROWS:
                raise
            if self._model.transform is not None:
                raise needed from error
            cause, _, way = str(needed).partition("\n")
            arrays = [column.name for column in spec.features if None in column.shape]
            raise RowsNeededError(
                f"{cause}: nothing tells the length of the arrays in {arrays}\n{way}"
            ) from error

    def _adopt(self, state: State, outcome: Outcome | None = None) -> None:
        """Continue with `state`; keep what a stage has found about columns and outputs."""
        if outcome:
            seen = self._seen_columns
            if outcome.columns.features or seen is None:
                seen = outcome.columns  # the batches of creators have no columns
            state.meta[_COLUMNS] = seen.to_json()
            state.meta.pop(_INPUTS, None)
            if outcome.inputs is not None:
                state.meta[_INPUTS] = outcome.inputs.to_json()
            state.meta[_OUTPUTS] = [output.to_json() for output in outcome.outputs]
            state.meta[_MODEL] = self._requests.fingerprint
        else:
            # The same weights may now be used by a model that returns something else. Its outputs
            # are found out when they are needed.
            if state.meta.get(_MODEL) != self._requests.fingerprint:
                state.meta.pop(_OUTPUTS, None)
                state.meta.pop(_INPUTS, None)
            if self._state and _COLUMNS in self._state.meta:
                state.meta.setdefault(_COLUMNS, self._state.meta[_COLUMNS])
        self._state = state

    @property
    def _outputs(self) -> tuple[OutputSpec, ...]:
        """The model's outputs; empty while they are unknown."""
        found = self._state.meta.get(_OUTPUTS, []) if self._state else []
        return tuple(map(OutputSpec.from_json, found))

    @property
    def _inputs(self) -> FeatureSpec | None:
        """What the model's transform makes of the columns, if it has one and it is known."""
        found = self._state.meta.get(_INPUTS) if self._state else None
        if found is None or self._model.transform is None:
            return None
        return replace(FeatureSpec.from_json(found), labels=(), label_keys=None)

    @property
    def _seen_columns(self) -> FeatureSpec | None:
        """The columns that the model has seen, or None."""
        found = self._state.meta.get(_COLUMNS) if self._state else None
        return None if found is None else FeatureSpec.from_json(found)

    def _entered(
        self,
        data: Any,
        feature_cols: ColumnNames | None,
        label_cols: ColumnNames | None = (),
        weight_col: str | Mapping[str, str] | None = None,
        data_config: Mapping[str, Any] | None = None,
    ) -> Entered:
        """Let rows of any form in; columns default to those that the model has seen."""
        columns, known = Columns(feature_cols, label_cols, weight_col), self._known_columns()
        return entered(data, columns, known=Columns(*known), data_config=data_config)

    def _known_columns(
        self, feature_cols: ColumnNames | None = None, label_cols: ColumnNames | None = None
    ) -> tuple[ColumnNames | None, ColumnNames | None]:
        """Return the arguments; default to the columns that the model has seen."""
        seen = self._seen_columns
        if seen is not None and feature_cols is None and seen.features:
            feature_cols = column_names(seen.features, seen.feature_keys)
        if seen is not None and label_cols is None and seen.labels:
            label_cols = column_names(seen.labels, seen.label_keys)
        return feature_cols, label_cols

    def _read_spec(self, data: DataFrame, *columns: Any, **options: Any) -> FeatureSpec:
        """Return what `read_spec` does, padded to the lengths that the model has seen."""
        if self._model.transform is not None:
            options["numbers_only"] = ""  # the framework gets what the transform makes of strings
        return with_lengths(read_spec(data, *columns, **options), self._seen_columns)

    def _use_creator(self, creator: bytes) -> None:
        """Go on with another model, which nothing has trained yet."""
        self._model = replace(self._model, creator=creator)
        self._requests = Requests(self._model, self._options)
        self._state = None

    def _made_state(self) -> State:
        """Return the state; before there is one, that of the model as a `fit` would make it."""
        return self._state or made_state(self._requests)

    def _driver_job(self, state: State | None = None, *, checked: bool = True) -> Job:
        """Return a job for this process: no rows, but the columns that the model has seen."""
        if checked:
            self._model.check()
        state = state or self._state
        return Job(
            model=self._model,
            columns=self._inputs or self._seen_columns or FeatureSpec(features=()),
            state=state.to_bytes() if state else None,
            seed=self._options.seed,
            environment=dict(self._options.environment),
        )

    def _required_state(self, what: str) -> State:
        if self._state is None:
            raise StateError(f"there is nothing to {what} yet\nCall fit or load first")
        return self._state
