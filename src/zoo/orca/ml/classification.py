"""Classifiers: stages whose models add a class, its probabilities and the model's own outputs."""

from typing import Any, ClassVar

from pyspark import keyword_only
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from zoo.orca.learn.estimator import BaseEstimator
from zoo.orca.ml.keras_params import KerasParams
from zoo.orca.ml.labels import with_classes
from zoo.orca.ml.params import AUTO, ClassifierParams
from zoo.orca.ml.predictions import AsClasses, only_output, renamed
from zoo.orca.ml.stages import TrainedStage, TrainingStage
from zoo.orca.ml.summary import TrainingSummary
from zoo.orca.ml.torch_params import TorchParams
from zoo.orca.wire.features import quoted
from zoo.orca.wire.outputs import Scale
from zoo.orca.wire.predicting.column_forms import CLASS_FIELDS


class ClassifierStage(TrainingStage, ClassifierParams):
    """What classifiers share."""

    _input_kwargs: dict[str, Any]

    def _labelled(self, dataset: DataFrame) -> DataFrame:
        return with_classes(dataset, self.getLabelCol())


class ClassifierModel(TrainedStage, ClassifierParams):
    """What models of classifiers share."""

    @property
    def numClasses(self) -> int:
        """The number of classes; two where the model has one output, of class 1."""
        output = only_output(self.estimator._outputs, type(self).__name__)
        return max(2, *(length or 0 for length in (*output.row_shape, 0)))

    def _trained(self, estimator: BaseEstimator, summary: TrainingSummary) -> TrainedStage:
        super()._trained(estimator, summary)
        scales = {output.scale for output in estimator._outputs}
        if self.getOutputScale() == AUTO and len(scales) == 1 and None not in scales:
            # Who reads the model may do so without its loss.
            self._set(outputScale=str(scales.pop()))
        return self

    def _transform(self, dataset: DataFrame) -> DataFrame:
        params = ("rawPredictionCol", "probabilityCol", "predictionCol")
        names = self._named(*params)
        told = self.getOutputScale()
        wanted = AsClasses(None if told == AUTO else Scale(told), type(self).__name__)
        predicted, source = self._predicted(dataset, names, wanted)
        fields = dict(zip(params, CLASS_FIELDS, strict=True))
        columns = {name: F.col(quoted(source))[fields[param]] for param, name in names.items()}
        return renamed(predicted, source, columns)


class KerasClassifierModel(ClassifierModel, KerasParams):
    """What `KerasClassifier` fits.

    `transform` adds `rawPrediction` and `probability` as Vectors, and `prediction` as a double.

    Attributes
    ----------
    estimator : Estimator
        Of `zoo.orca.learn`, in the state after training: to go on, to evaluate, to save.
    summary : TrainingSummary
        ``summary.history`` has one value an epoch.
    """


class KerasClassifier(ClassifierStage, KerasParams):
    """Trains a model of Keras that tells classes, as an estimator of Spark ML.

    Parameters
    ----------
    featuresCol : str, list of str, or dict
        The model's inputs: a column of vectors, arrays or numbers; a list of columns, one for each
        input; or a dict of the inputs' names to columns. A list in the list is stacked.
    labelCol : str
        Classes from 0, as whole numbers of any type: doubles, too.
    predictionCol, probabilityCol, rawPredictionCol : str
        Names of the columns that the model adds; "" leaves one out.
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
    outputScale : str
        What the model's outputs are: "logits", "probabilities" or "logarithms"; "auto": as its
        loss says.
    """

    _model: ClassVar[type[TrainedStage]] = KerasClassifierModel

    @keyword_only
    def __init__(
        self,
        *,
        featuresCol: Any = "features",
        labelCol: str = "label",
        predictionCol: str = "prediction",
        probabilityCol: str = "probability",
        rawPredictionCol: str = "rawPrediction",
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
        outputScale: str = "auto",
    ) -> None:
        super().__init__()
        self._given(**self._input_kwargs)


class TorchClassifierModel(ClassifierModel, TorchParams):
    """What `TorchClassifier` fits.

    `transform` adds `rawPrediction` and `probability` as Vectors, and `prediction` as a double.

    Attributes
    ----------
    estimator : Estimator
        Of `zoo.orca.learn`, in the state after training: to go on, to evaluate, to save.
    summary : TrainingSummary
        ``summary.history`` has one value an epoch.
    """


class TorchClassifier(ClassifierStage, TorchParams):
    """Trains a model of PyTorch that tells classes, as an estimator of Spark ML.

    Parameters
    ----------
    featuresCol : str, list of str, or dict
        The model's inputs: a column of vectors, arrays or numbers; a list of columns, one for each
        input; or a dict of the inputs' names to columns. A list in the list is stacked.
    labelCol : str
        Classes from 0, as whole numbers of any type: doubles, too.
    predictionCol, probabilityCol, rawPredictionCol : str
        Names of the columns that the model adds; "" leaves one out.
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
    outputScale : str
        What the model's outputs are: "logits", "probabilities" or "logarithms"; "auto": as its
        loss says.
    """

    _model: ClassVar[type[TrainedStage]] = TorchClassifierModel

    @keyword_only
    def __init__(
        self,
        *,
        featuresCol: Any = "features",
        labelCol: str = "label",
        predictionCol: str = "prediction",
        probabilityCol: str = "probability",
        rawPredictionCol: str = "rawPrediction",
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
        outputScale: str = "auto",
    ) -> None:
        super().__init__()
        self._given(**self._input_kwargs)
