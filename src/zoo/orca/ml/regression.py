"""Regressors: stages whose models add a number."""

from typing import Any, ClassVar

from pyspark import keyword_only
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from zoo.orca.ml.keras_params import KerasParams
from zoo.orca.ml.labels import check_numbers
from zoo.orca.ml.predictions import AsNumber, renamed
from zoo.orca.ml.stages import TrainedStage, TrainingStage
from zoo.orca.ml.torch_params import TorchParams
from zoo.orca.wire.features import quoted


class RegressorStage(TrainingStage):
    """What regressors share."""

    _input_kwargs: dict[str, Any]

    def _labelled(self, dataset: DataFrame) -> DataFrame:
        check_numbers(dataset, self.getLabelCol())
        return dataset


class RegressorModel(TrainedStage):
    """What models of regressors share."""

    def _transform(self, dataset: DataFrame) -> DataFrame:
        names = self._named("predictionCol")
        predicted, source = self._predicted(dataset, names, AsNumber(type(self).__name__))
        number = F.col(quoted(source)).cast("double")
        return renamed(predicted, source, {name: number for name in names.values()})


class KerasRegressorModel(RegressorModel, KerasParams):
    """What `KerasRegressor` fits: `transform` adds `prediction` as a double.

    Attributes
    ----------
    estimator : Estimator
        Of `zoo.orca.learn`, in the state after training: to go on, to evaluate, to save.
    summary : TrainingSummary
        ``summary.history`` has one value an epoch.
    """


class KerasRegressor(RegressorStage, KerasParams):
    """Trains a model of Keras that predicts a number, as an estimator of Spark ML.

    Parameters
    ----------
    featuresCol : str, list of str, or dict
        The model's inputs: a column of vectors, arrays or numbers; a list of columns, one for each
        input; or a dict of the inputs' names to columns. A list in the list is stacked.
    labelCol : str
        Numbers.
    predictionCol : str
        The column that the model adds.
    modelCreator : callable
        ``model_creator(config)``, which returns a compiled model of Keras.
    compileArgsCreator : callable, optional
        ``compile_args_creator(config)`` returns the arguments of `Model.compile`.
    backend : str, optional
        "jax", "tensorflow" or "torch" for Keras 3, "tf2" for Keras 2 on TensorFlow; by default
        the backend that Keras is set to.
    config : dict, optional
        What the creators get. `configParam` makes a parameter of each key.
    epochs : int
    batchSize : int
        Rows of one step over all workers together.
    numWorkers : int, optional
        Workers of a fit, each one task; by default one on each node.
    seed : int
        Fixes the order of rows and the initial weights.
    weightCol : str, optional
        The rows' weights.
    validationIndicatorCol : str, optional
        A boolean column: rows where it is true validate, and are not trained.
    fitParams : dict, optional
        Further arguments of Orca's `fit`, such as callbacks.
    estimatorParams : dict, optional
        Further arguments of `from_keras`, such as ``model_dir``.
    """

    _model: ClassVar[type[TrainedStage]] = KerasRegressorModel

    @keyword_only
    def __init__(
        self,
        *,
        featuresCol: Any = "features",
        labelCol: str = "label",
        predictionCol: str = "prediction",
        modelCreator: Any = None,
        compileArgsCreator: Any = None,
        backend: str | None = None,
        config: dict[str, Any] | None = None,
        epochs: int = 1,
        batchSize: int = 32,
        numWorkers: int | None = None,
        seed: int = 0,
        weightCol: str | None = None,
        validationIndicatorCol: str | None = None,
        fitParams: dict[str, Any] | None = None,
        estimatorParams: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._given(**self._input_kwargs)


class TorchRegressorModel(RegressorModel, TorchParams):
    """What `TorchRegressor` fits: `transform` adds `prediction` as a double.

    Attributes
    ----------
    estimator : Estimator
        Of `zoo.orca.learn`, in the state after training: to go on, to evaluate, to save.
    summary : TrainingSummary
        ``summary.history`` has one value an epoch.
    """


class TorchRegressor(RegressorStage, TorchParams):
    """Trains a model of PyTorch that predicts a number, as an estimator of Spark ML.

    Parameters
    ----------
    featuresCol : str, list of str, or dict
        The model's inputs: a column of vectors, arrays or numbers; a list of columns, one for each
        input; or a dict of the inputs' names to columns. A list in the list is stacked.
    labelCol : str
        Numbers.
    predictionCol : str
        The column that the model adds.
    modelCreator : callable or class
        ``model_creator(config)``, which returns a ``torch.nn.Module``, or a class of one.
    optimizer : callable or class
        ``optimizer(model, config)``; or a class of ``torch.optim``, which gets ``config["lr"]``.
    loss : object, class or callable
        A loss of ``torch.nn``, or ``loss(config)``, which returns one.
    metrics : object, optional
        Metrics of `zoo.orca.learn.metrics` or torchmetrics.
    schedulerCreator : callable, optional
        ``scheduler_creator(optimizer, config)`` returns a learning-rate schedule.
    config : dict, optional
        What the creators get. `configParam` makes a parameter of each key.
    epochs : int
    batchSize : int
        Rows of one step over all workers together.
    numWorkers : int, optional
        Workers of a fit, each one task; by default one on each node.
    seed : int
        Fixes the order of rows and the initial weights.
    weightCol : str, optional
        The rows' weights.
    validationIndicatorCol : str, optional
        A boolean column: rows where it is true validate, and are not trained.
    fitParams : dict, optional
        Further arguments of Orca's `fit`, such as callbacks.
    estimatorParams : dict, optional
        Further arguments of `from_torch`, such as ``model_dir``.
    """

    _model: ClassVar[type[TrainedStage]] = TorchRegressorModel

    @keyword_only
    def __init__(
        self,
        *,
        featuresCol: Any = "features",
        labelCol: str = "label",
        predictionCol: str = "prediction",
        modelCreator: Any = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        schedulerCreator: Any = None,
        config: dict[str, Any] | None = None,
        epochs: int = 1,
        batchSize: int = 32,
        numWorkers: int | None = None,
        seed: int = 0,
        weightCol: str | None = None,
        validationIndicatorCol: str | None = None,
        fitParams: dict[str, Any] | None = None,
        estimatorParams: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._given(**self._input_kwargs)
