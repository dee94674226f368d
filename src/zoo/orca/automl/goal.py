"""What a search looks for: a metric of each epoch, and whether it should be small or large."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.orca.errors import InvalidInputError

#: The original's names of metrics, and those that frameworks have for the same.
_SAME = (
    ("mse", "mean_squared_error"),
    ("mae", "mean_absolute_error"),
    ("mape", "mean_absolute_percentage_error"),
    ("msle", "mean_squared_logarithmic_error"),
    ("rmse", "root_mean_squared_error"),
    (
        "accuracy",
        "acc",
        "binary_accuracy",
        "categorical_accuracy",
        "sparse_categorical_accuracy",
    ),
)
#: Parts of the names of metrics that should be small, or large.
_SMALL = ("loss", "error", "mse", "mae", "mape", "msle", "smape", "entropy", "divergence", "hinge")
_LARGE = ("acc", "auc", "roc", "precision", "recall", "f1", "r2", "similarity", "iou", "dice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a search looks for.

    Parameters
    ----------
    metric : str
        The name of a value of an epoch, with or without `val_`.
    mode : str
        "min" or "max".
    threshold : float or None
        A trial ends once its metric is as good as this.
    """

    metric: str = "loss"
    mode: str = "min"
    threshold: float | None = None

    def value(self, logs: Mapping[str, float]) -> float:
        """Return the metric's value after an epoch; that of validation, if there is one.

        Raises
        ------
        InvalidInputError
            If the epoch has no such value; lists those that it has.
        """
        wanted = self.metric.lower().removeprefix("val_")
        names = next((same for same in _SAME if wanted in same), (wanted,))
        known = {name.lower(): value for name, value in logs.items()}
        prefixes = ("val_",) if self.metric.lower().startswith("val_") else ("val_", "")
        for prefix in prefixes:
            for name in (wanted, *names):
                if prefix + name in known:
                    return known[prefix + name]
        raise InvalidInputError(
            f"metric={self.metric!r} is none of what an epoch has: {sorted(logs)}\n"
            "Name one of these, or give the model this metric where it is compiled or made"
        )

    def is_met(self, value: float) -> bool:
        """Whether a value is as good as the threshold."""
        if self.threshold is None or math.isnan(value):
            return False
        return value <= self.threshold if self.mode == "min" else value >= self.threshold

    def is_better(self, value: float, other: float | None) -> bool:
        """Whether a value is better than another one; any is better than None."""
        if other is None or math.isnan(other):
            return True
        return value < other if self.mode == "min" else value > other


def goal_of(metric: Any, mode: Any, threshold: Any) -> Goal:
    """Return the goal that the arguments of a search mean.

    Raises
    ------
    InvalidInputError
        If one cannot be used, or nothing says whether the metric should be small or large.
    """
    if metric is None:
        metric, mode = "loss", mode or "min"
    if not isinstance(metric, str) or not metric:
        raise InvalidInputError(
            f"metric must be the name of a value of an epoch, got {metric!r}\n"
            "Give the model this metric where it is compiled or made, and name it: "
            "metric='accuracy'"
        )
    if mode not in (None, "min", "max"):
        raise InvalidInputError(
            f"metric_mode must be 'min' or 'max', got {mode!r}\nWrite one of these"
        )
    mode = mode or _mode_of(metric.lower())
    if mode is None:
        raise InvalidInputError(
            f"metric={metric!r}: nothing says whether small or large values are good\n"
            "Write metric_mode='min' or metric_mode='max'"
        )
    if threshold is not None and (
        isinstance(threshold, bool) or not isinstance(threshold, (int, float))
    ):
        raise InvalidInputError(
            f"metric_threshold must be a number, got {threshold!r}\nWrite metric_threshold=0.9"
        )
    return Goal(metric=metric, mode=mode, threshold=threshold)


def _mode_of(metric: str) -> str | None:
    if any(part in metric for part in _SMALL):
        return "min"
    return "max" if any(part in metric for part in _LARGE) else None
