"""The parameters of all stages, with their getters and setters."""

from collections.abc import Mapping
from typing import Any, Self

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasFeaturesCol,
    HasLabelCol,
    HasPredictionCol,
    HasProbabilityCol,
    HasRawPredictionCol,
    HasSeed,
    HasValidationIndicatorCol,
    HasWeightCol,
)

from zoo.orca.ml.config_keys import ConfigKeys
from zoo.orca.wire.outputs import Scale

AUTO = "auto"
_SCALES = (AUTO, *map(str, Scale))


def _columns(value: Any) -> Any:
    """Take a column, a list of columns or of stacks, or a dict of inputs to columns."""
    if isinstance(value, Mapping):
        return dict(value)
    return value if isinstance(value, str) else list(value)


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"It must be a dict, got {type(value).__qualname__}")
    return dict(value)


def _scale(value: Any) -> str:
    if value not in _SCALES:
        raise TypeError(f"It must be one of {_SCALES}, got {value!r}")
    return str(value)


def one_of(*names: str) -> Any:
    """Return a converter that takes one of these names."""

    def converter(value: Any) -> str:
        if value not in names:
            raise TypeError(f"It must be one of {names}, got {value!r}")
        return str(value)

    return converter


class StageParams(
    HasFeaturesCol,
    HasLabelCol,
    HasPredictionCol,
    HasWeightCol,
    HasValidationIndicatorCol,
    HasSeed,
    ConfigKeys,
):
    """The parameters of every stage and of the model that it gives."""

    featuresCol: Param[Any] = Param(
        Params._dummy(),
        "featuresCol",
        "the model's inputs: a column of vectors, arrays or numbers; a list of columns, one for "
        "each input, where a list in the list is stacked to one; or a dict of inputs to columns",
        typeConverter=_columns,
    )
    modelCreator: Param[Any] = Param(
        Params._dummy(), "modelCreator", "model_creator(config), which returns the model"
    )
    config: Param[dict[str, Any]] = Param(
        Params._dummy(), "config", "a dict, which the creators get", typeConverter=_dict
    )
    epochs: Param[int] = Param(
        Params._dummy(), "epochs", "epochs to train (>= 1)", typeConverter=TypeConverters.toInt
    )
    batchSize: Param[int] = Param(
        Params._dummy(),
        "batchSize",
        "rows of one step over all workers together (>= 1)",
        typeConverter=TypeConverters.toInt,
    )
    numWorkers: Param[int] = Param(
        Params._dummy(),
        "numWorkers",
        "workers of a fit, each one task; by default one on each node",
        typeConverter=TypeConverters.toInt,
    )
    fitParams: Param[dict[str, Any]] = Param(
        Params._dummy(),
        "fitParams",
        "a dict of further arguments of Orca's fit, such as callbacks or class_weight",
        typeConverter=_dict,
    )
    estimatorParams: Param[dict[str, Any]] = Param(
        Params._dummy(),
        "estimatorParams",
        "a dict of further arguments of from_keras or from_torch, such as model_dir",
        typeConverter=_dict,
    )

    def __init__(self) -> None:
        super().__init__()
        # Spark's default seed is another in each process.
        self._setDefault(
            seed=0, epochs=1, batchSize=32, config={}, fitParams={}, estimatorParams={}
        )

    def getFeaturesCol(self) -> Any:
        """Return the column, or columns, of the model's inputs."""
        return self.getOrDefault(self.featuresCol)

    def setFeaturesCol(self, value: Any) -> Self:
        """Set the column, or columns, of the model's inputs."""
        return self._set(featuresCol=value)

    def setLabelCol(self, value: str) -> Self:
        """Set the column of labels."""
        return self._set(labelCol=value)

    def setPredictionCol(self, value: str) -> Self:
        """Set the name of the column of predictions; "" leaves it out."""
        return self._set(predictionCol=value)

    def setWeightCol(self, value: str) -> Self:
        """Set the column of the rows' weights."""
        return self._set(weightCol=value)

    def setValidationIndicatorCol(self, value: str) -> Self:
        """Set the boolean column that is true for rows to validate with."""
        return self._set(validationIndicatorCol=value)

    def setSeed(self, value: int) -> Self:
        """Set the seed of placement, order and initial weights."""
        return self._set(seed=value)

    def getModelCreator(self) -> Any:
        """Return the function that makes the model; None if there is none yet."""
        return self._optional(self.modelCreator)

    def setModelCreator(self, value: Any) -> Self:
        """Set ``model_creator(config)``, which returns the model."""
        return self._set(modelCreator=value)

    def getConfig(self) -> dict[str, Any]:
        """Return what the creators get, with the keys that `configParam` has set."""
        return self._with_keys(self.getOrDefault(self.config))

    def setConfig(self, value: dict[str, Any]) -> Self:
        """Set what the creators get."""
        return self._set(config=value)

    def getEpochs(self) -> int:
        """Return the epochs to train."""
        return self.getOrDefault(self.epochs)

    def setEpochs(self, value: int) -> Self:
        """Set the epochs to train."""
        return self._set(epochs=value)

    def getBatchSize(self) -> int:
        """Return the rows of a step over all workers."""
        return self.getOrDefault(self.batchSize)

    def setBatchSize(self, value: int) -> Self:
        """Set the rows of a step over all workers."""
        return self._set(batchSize=value)

    def getNumWorkers(self) -> int | None:
        """Return the workers of a fit; None for one on each node."""
        found: int | None = self._optional(self.numWorkers)
        return found

    def setNumWorkers(self, value: int) -> Self:
        """Set the workers of a fit."""
        return self._set(numWorkers=value)

    def getFitParams(self) -> dict[str, Any]:
        """Return further arguments of Orca's `fit`."""
        return self.getOrDefault(self.fitParams)

    def setFitParams(self, value: dict[str, Any]) -> Self:
        """Set further arguments of Orca's `fit`."""
        return self._set(fitParams=value)

    def getEstimatorParams(self) -> dict[str, Any]:
        """Return further arguments of `from_keras` or `from_torch`."""
        return self.getOrDefault(self.estimatorParams)

    def setEstimatorParams(self, value: dict[str, Any]) -> Self:
        """Set further arguments of `from_keras` or `from_torch`."""
        return self._set(estimatorParams=value)

    def _optional(self, param: Param[Any]) -> Any:
        """Return a parameter's value; None where it has none, or an empty name."""
        return (self.getOrDefault(param) or None) if self.isDefined(param) else None

    def _given(self, **values: Any) -> Self:
        """Set the parameters that are given: None stands for one that is not."""
        return self._set(**{name: one for name, one in values.items() if one is not None})


class ClassifierParams(HasProbabilityCol, HasRawPredictionCol):
    """The parameters of classifiers alone."""

    outputScale: Param[str] = Param(
        Params._dummy(),
        "outputScale",
        f"what the model's outputs are: one of {_SCALES}; auto: as the model's loss says",
        typeConverter=_scale,
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(outputScale=AUTO)

    def setProbabilityCol(self, value: str) -> Self:
        """Set the name of the column of probabilities; "" leaves it out."""
        return self._set(probabilityCol=value)

    def setRawPredictionCol(self, value: str) -> Self:
        """Set the name of the column of the model's own outputs; "" leaves it out."""
        return self._set(rawPredictionCol=value)

    def getOutputScale(self) -> str:
        """Return what the model's outputs are."""
        return self.getOrDefault(self.outputScale)

    def setOutputScale(self, value: str) -> Self:
        """Say what the model's outputs are: "logits", "probabilities" or "logarithms"."""
        return self._set(outputScale=value)
