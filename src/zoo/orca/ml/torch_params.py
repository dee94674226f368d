"""What stages of PyTorch models have beside the others, and how their estimators are made."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from pyspark.ml.param import Param, Params

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.pytorch import Estimator
from zoo.orca.ml.stages import OfFramework


class TorchParams(OfFramework):
    """The parameters of stages of PyTorch models."""

    optimizer: Param[Any] = Param(
        Params._dummy(),
        "optimizer",
        "optimizer(model, config), or a class of torch.optim, which gets config['lr']",
    )
    loss: Param[Any] = Param(
        Params._dummy(), "loss", "a loss of torch.nn, as object or class, or loss(config)"
    )
    metrics: Param[Any] = Param(
        Params._dummy(), "metrics", "metrics of zoo.orca.learn.metrics or torchmetrics"
    )
    schedulerCreator: Param[Any] = Param(
        Params._dummy(), "schedulerCreator", "scheduler_creator(optimizer, config)"
    )
    _creation: ClassVar[dict[str, str]] = {
        **OfFramework._creation,
        "model": "modelCreator",
        "optimizer": "optimizer",
        "loss": "loss",
        "metrics": "metrics",
        "scheduler_creator": "schedulerCreator",
    }
    _code: ClassVar[tuple[str, ...]] = (
        "modelCreator",
        "optimizer",
        "loss",
        "metrics",
        "schedulerCreator",
    )

    def getOptimizer(self) -> Any:
        """Return what makes the optimizer; None if there is nothing yet."""
        return self._optional(self.optimizer)

    def setOptimizer(self, value: Any) -> Self:
        """Set ``optimizer(model, config)``, or a class of ``torch.optim``."""
        return self._set(optimizer=value)

    def getLoss(self) -> Any:
        """Return the loss; None if there is none yet."""
        return self._optional(self.loss)

    def setLoss(self, value: Any) -> Self:
        """Set a loss of ``torch.nn``, as object or class, or ``loss(config)``."""
        return self._set(loss=value)

    def getMetrics(self) -> Any:
        """Return the metrics; None if there are none."""
        return self._optional(self.metrics)

    def setMetrics(self, value: Any) -> Self:
        """Set metrics of `zoo.orca.learn.metrics` or torchmetrics."""
        return self._set(metrics=value)

    def getSchedulerCreator(self) -> Any:
        """Return what makes the learning-rate schedule; None if there is nothing."""
        return self._optional(self.schedulerCreator)

    def setSchedulerCreator(self, value: Any) -> Self:
        """Set ``scheduler_creator(optimizer, config)``."""
        return self._set(schedulerCreator=value)

    def _creator(self) -> Callable[..., Any]:
        return Estimator.from_torch

    def _create(self, given: dict[str, Any]) -> Any:
        model = self.getModelCreator()
        if not isinstance(model, type) and hasattr(model, "state_dict"):
            kind = type(model).__qualname__
            raise InvalidInputError(
                f"modelCreator is a {kind} with its weights, and only what makes a model is kept "
                "in a stage\nWrite a function, modelCreator=lambda config: ..., or name the class"
            )
        return Estimator.from_torch(
            model=model,
            optimizer=self.getOptimizer(),
            loss=self.getLoss(),
            metrics=self.getMetrics(),
            scheduler_creator=self.getSchedulerCreator(),
            **given,
        )
