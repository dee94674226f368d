"""PyTorch under Orca's original import path; the driver needs no PyTorch to train a model."""

from typing import TYPE_CHECKING, Any

from zoo.orca.learn.pytorch.estimator import Estimator

if TYPE_CHECKING:
    from zoo.orca.frameworks.torch.training.operator import TrainingOperator

__all__ = ["Estimator", "TrainingOperator"]


def __getattr__(name: str) -> Any:
    """Return `TrainingOperator`, which lies where workers find it without anything of the driver's.

    A user's class refers to its base by where that lies.
    """
    if name == "TrainingOperator":
        from zoo.orca.frameworks.torch.training.operator import TrainingOperator

        return TrainingOperator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
