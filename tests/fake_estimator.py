"""An estimator over the fake framework: everything of the real ones but the framework."""

from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import DataFrame

from zoo.orca.frameworks.fake import LinearModel
from zoo.orca.learn.ended import needs_session
from zoo.orca.learn.forms.entry import entered_both
from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.options import EngineOptions
from zoo.orca.learn.predicting.column_function import ColumnPredictions
from zoo.orca.learn.predicting.output_types import Wanted
from zoo.orca.learn.results import TrainingStats
from zoo.orca.wire.job import EvaluateJob, ModelSpec, TrainJob
from zoo.orca.wire.packing import pack


class FakeEstimator(ColumnPredictions):
    """Trains `zoo.orca.frameworks.fake.LinearModel`."""

    @classmethod
    def of(
        cls,
        creator: Callable[[dict[str, Any]], Any],
        workers: int | None = 1,
        framework: str = "fake",
        environment: Mapping[str, str] | None = None,
        cpu_binding: bool = False,
        **engine: Any,
    ) -> "FakeEstimator":
        model = ModelSpec(
            framework=framework, creator=pack(creator, "model_creator"), config=pack({}, "config")
        )
        options = EngineOptions(
            num_workers=workers, environment=environment or {}, cpu_binding=cpu_binding, **engine
        )
        return cls(model, options)

    @needs_session
    def fit(
        self,
        data: Any,
        features: Any = ("x",),
        *,
        epochs: int = 1,
        batch_size: int = 8,
        validation: Any = None,
        labels: Any = ("y",),
        verbose: int = 0,
        shuffle: bool | None = None,
        name: str | None = None,
        **fields: Any,
    ) -> TrainingStats:
        first = int(self._state.meta["epoch"]) if self._state else 0
        given, validated = entered_both(data, validation, Columns(features, labels))
        request = self._requests.over_rows(
            TrainJob,
            self._state,
            given.frame,
            self._read_spec(given.frame, *given.columns),
            validated,
            batch_size=batch_size,
            epochs=epochs,
            initial_epoch=first,
            verbose=verbose,
            shuffle=given.shuffle(shuffle),
            name=name,
            **fields,
        )
        return self._train(request)

    @needs_session
    def checked_fit(
        self,
        data: DataFrame,
        *,
        epochs: int = 1,
        batch_size: int = 8,
        validation: DataFrame | None = None,
        checkpoint_steps: int | None = None,
        checkpoint_seconds: float | None = None,
        resume: bool = False,
        **fields: Any,
    ) -> TrainingStats:
        """As the estimators of frameworks do: with all checks, and with checkpoints."""
        request = self._requests.fit(
            self._state,
            data,
            self._read_spec(data, ("x",), ["y"]),
            validation,
            epochs=epochs,
            batch_size=batch_size,
            steps_per_epoch=None,
            validation_steps=None,
            callbacks=None,
            checkpoint_steps=checkpoint_steps,
            checkpoint_seconds=checkpoint_seconds,
            resume=resume,
            initial_epoch=self._epochs_done,
            verbose=0,
            **fields,
        )
        return self._train(request)

    @needs_session
    def evaluate(
        self, data: Any, features: Any = ("x",), labels: Any = ("y",), **fields: Any
    ) -> dict[str, float]:
        given = self._entered(data, features, labels)
        spec = self._read_spec(given.frame, *given.columns)
        request = self._requests.over_rows(
            EvaluateJob,
            self._state,
            given.frame,
            spec,
            verbose=0,
            **{"batch_size": 32, **fields},
        )
        return self._evaluate(request)

    @needs_session
    def predict(
        self, data: Any, features: Any = ("x",), output_cols: Any = None, **wanted: Any
    ) -> Any:
        given = self._entered(data, features)
        spec = self._read_spec(given.frame, given.columns.features)
        return self._predict(given, spec, 32, output_cols, Wanted(**wanted))

    @property
    def weights(self) -> Any:
        return self._required_state("read").tensors["weights/w"]


def linear(features: int = 1, rate: float = 0.1, on_step: Any = None) -> Callable[[Any], Any]:
    """Return a creator of a linear model."""

    def creator(config: dict[str, Any]) -> LinearModel:
        return LinearModel(features=features, rate=rate, on_step=on_step)

    return creator
