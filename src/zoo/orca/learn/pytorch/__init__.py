"""PyTorch under Orca's original import path; the driver needs no PyTorch to train a model."""

from typing import TYPE_CHECKING, Any

from zoo.orca.learn.pytorch.estimator import Estimator

if TYPE_CHECKING:
    from zoo.orca.frameworks.torch.training.operator import TrainingOperator

__all__ = ["Estimator", "TrainingOperator"]


def __getattr__(name: str) -> Any:
    """Return `TrainingOperator` from a module that workers import without any driver code.

    A pickled subclass names its base by this module.
    """
    if name == "TrainingOperator":
        from zoo.orca.frameworks.torch.training.operator import TrainingOperator

        return TrainingOperator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
