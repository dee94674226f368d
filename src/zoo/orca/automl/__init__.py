"""Searches for hyperparameters: `AutoEstimator` over spaces of `hp`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.orca.automl.auto_estimator import AutoEstimator

__all__ = ["AutoEstimator"]


def __getattr__(name: str) -> Any:
    """Return `AutoEstimator` where it is asked for: spaces of `hp` need no Spark."""
    if name == "AutoEstimator":
        from zoo.orca.automl.auto_estimator import AutoEstimator

        return AutoEstimator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
