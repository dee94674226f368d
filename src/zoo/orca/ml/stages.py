"""What all stages do: make an estimator of Orca's, fit it, and keep it in a model."""

import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from pyspark.ml import Estimator, Model
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import check_bounded
from zoo.orca.learn.estimator import BaseEstimator
from zoo.orca.learn.predicting.output_types import Asks
from zoo.orca.ml.labels import check_marks
from zoo.orca.ml.params import StageParams
from zoo.orca.ml.persistence import Stored
from zoo.orca.ml.predictions import check_new
from zoo.orca.ml.summary import TrainingSummary
from zoo.orca.wire.features import quoted

#: Arguments of `fit` that have a parameter of their own.
_FIT = {
    "epochs": "epochs",
    "batch_size": "batchSize",
    "feature_cols": "featuresCol",
    "label_cols": "labelCol",
    "sample_weight_col": "weightCol",
    "validation_data": "validationIndicatorCol",
    "data": "the DataFrame that fit gets",
}


class OfFramework(StageParams, Stored):
    """A stage that knows how its framework's estimator is made."""

    #: Arguments of `from_keras` or `from_torch` that have a parameter of their own.
    _creation: ClassVar[dict[str, str]] = {
        "config": "config",
        "num_workers": "numWorkers",
        "seed": "seed",
    }

    @abstractmethod
    def _create(self, given: dict[str, Any]) -> Any:
        """Return a new estimator of Orca's, with arguments that all frameworks have."""

    @abstractmethod
    def _creator(self) -> Callable[..., Any]:
        """Return the function that makes estimators."""

    def _settled(self) -> dict[str, Any]:
        """Return parameters that a model is to keep as they were when it was trained."""
        return {}

    def _made(self) -> Any:
        """Return a new estimator of Orca's.

        Raises
        ------
        InvalidInputError
            If there is no `modelCreator`, or `estimatorParams` cannot be used.
        """
        if self.getModelCreator() is None:
            name = type(self).__name__
            raise InvalidInputError(
                f"{name} has no modelCreator\nName a function that returns the model: "
                f"{name}(modelCreator=...), or setModelCreator"
            )
        more = self.getEstimatorParams()
        _check_more("estimatorParams", more, self._creator(), self._creation)
        given = {"config": self.getConfig(), "seed": self.getSeed(), **more}
        if self.getNumWorkers() is not None:
            given["num_workers"] = self.getNumWorkers()
        return self._create(given)


class TrainingStage(Estimator[Any], OfFramework):
    """An estimator of Spark ML that trains a model of Keras or PyTorch."""

    #: The class of what it fits.
    _model: ClassVar[type["TrainedStage"]]

    def setParams(self, **params: Any) -> "TrainingStage":
        """Set the parameters that the class takes, by name."""
        unknown = [name for name in params if not self.hasParam(name)]
        if unknown:
            raise InvalidInputError(
                f"{type(self).__name__} has no parameter {unknown[0]!r}\n"
                "explainParams() lists those it has"
            )
        return self._given(**params)

    def _fit(self, dataset: DataFrame) -> Any:
        check_bounded("fit", dataset)
        made = self._made()
        more = self.getFitParams()
        _check_more("fitParams", more, made.fit, _FIT)
        training, validation = self._parts(self._labelled(dataset))
        stats = made.fit(
            training,
            feature_cols=_listed(self.getFeaturesCol()),
            label_cols=[self.getLabelCol()],
            epochs=self.getEpochs(),
            batch_size=self.getBatchSize(),
            sample_weight_col=self._optional(self.weightCol),
            validation_data=validation,
            **{"verbose": 0, **more},
        )
        model = self._model()
        model._resetUid(self.uid)
        self._copyValues(model)._set(**self._settled())
        return model._trained(made, TrainingSummary(dict(getattr(stats, "history", {}))))

    @abstractmethod
    def _labelled(self, dataset: DataFrame) -> DataFrame:
        """Return the rows with labels that the model takes, or raise."""

    def _parts(self, dataset: DataFrame) -> tuple[DataFrame, DataFrame | None]:
        """Return the rows to train on, and those to validate with."""
        name = self._optional(self.validationIndicatorCol)
        if name is None:
            return dataset, None
        check_marks(dataset, name)
        # A null is neither true nor false, and its row must not vanish.
        marked = F.coalesce(F.col(quoted(name)).cast("boolean"), F.lit(False))
        return dataset.where(~marked), dataset.where(marked)


class TrainedStage(Model, OfFramework):
    """A model of Spark ML: parameters, and the estimator of Orca's that was trained."""

    def __init__(self) -> None:
        super().__init__()
        self._estimator: BaseEstimator | None = None
        self._summary = TrainingSummary()

    @property
    def estimator(self) -> Any:
        """The estimator of Orca's, as it was trained: to go on training, evaluate or save.

        All copies of a model share it.
        """
        if self._estimator is None:
            raise InvalidInputError(
                f"{type(self).__name__} is not trained\n"
                "Get one from fit, or read one with load(path)"
            )
        return self._estimator

    @property
    def hasSummary(self) -> bool:
        """Whether the model tells of its training."""
        return bool(self._summary.history)

    @property
    def summary(self) -> TrainingSummary:
        """What came of the training, one value an epoch."""
        return self._summary

    def _trained(self, estimator: BaseEstimator, summary: TrainingSummary) -> "TrainedStage":
        """Take what was trained."""
        self._estimator, self._summary = estimator, summary
        return self

    def _predicted(
        self, dataset: DataFrame, columns: dict[str, str], wanted: Asks
    ) -> tuple[DataFrame, str]:
        """Return the rows with the model's output as it is wanted, and the name of its column.

        Parameters
        ----------
        dataset : DataFrame
        columns : dict of str to str
            Parameters to the names of columns that shall come of it.
        wanted : Asks
        """
        check_new(dataset, columns)
        source, features = f"{self.uid}_output", _listed(self.getFeaturesCol())
        return self.estimator._predict_as(dataset, features, [source], wanted), source

    def _named(self, *params: str) -> dict[str, str]:
        """Return the names of the columns that shall be there: an empty one leaves a column out."""
        names = {param: self.getOrDefault(param) for param in params}
        return {param: name for param, name in names.items() if name}


def _listed(columns: Any) -> Any:
    return [columns] if isinstance(columns, str) else columns


def _check_more(
    param: str, given: dict[str, Any], function: Callable[..., Any], own: dict[str, str]
) -> None:
    """Refuse arguments that a function does not have, or that have a parameter of their own."""
    known = inspect.signature(function).parameters
    for name in given:
        if name in own:
            raise InvalidInputError(
                f"{param} has {name!r}, which has a place of its own\nSet it there: {own[name]}"
            )
        if name not in known:
            more = [one for one in known if one not in own]
            raise InvalidInputError(
                f"{param} has {name!r}, which {function.__name__} does not take\n"
                f"It takes {', '.join(more)}"
            )
