"""Orca's metrics on torchmetrics: what `zoo.orca.learn.metrics` names."""

from collections.abc import Callable
from typing import Any

import torch
import torchmetrics
from torch.nn import functional as F
from torchmetrics import Metric

from zoo.orca.errors import ModelError

Values = Callable[[Any, Any], Any]


class MeanOfRows(Metric):  # type: ignore[misc]
    """The mean of one value for each row, or for each element where rows have several.

    Parameters
    ----------
    values : callable
        From outputs and targets to values.
    """

    full_state_update = False

    def __init__(self, values: Values) -> None:
        super().__init__()
        self._values = values
        zero = torch.tensor(0.0, dtype=torch.float64)
        self.add_state("total", zero, dist_reduce_fx="sum")
        self.add_state("count", zero.clone(), dist_reduce_fx="sum")

    def update(self, output: Any, target: Any) -> None:
        """Add a batch."""
        values = self._values(output, target)
        self.total += values.double().sum()
        self.count += values.numel()

    def compute(self) -> Any:
        """Return the mean."""
        return self.total / self.count


class Scores(Metric):  # type: ignore[misc]
    """A metric of torchmetrics on scores and classes that are laid out as Orca's outputs are."""

    full_state_update = False

    def __init__(self, inner: Metric) -> None:
        super().__init__()
        self.inner = inner

    def update(self, output: Any, target: Any) -> None:
        """Add a batch."""
        output, target = _alike(output, target)
        self.inner.update(output, target.long())

    def compute(self) -> Any:
        """Return the inner metric's value."""
        return self.inner.compute()

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self.inner.reset()


def make(name: str, arguments: dict[str, Any]) -> Metric:
    """Return the metric of a name of Orca's."""
    if name in _MEANS:
        return MeanOfRows(_MEANS[name](**arguments))
    return Scores(_SCORES[name](**arguments))


def _alike(output: Any, target: Any) -> tuple[Any, Any]:
    """Drop a last axis of length one that only one of the two has."""
    if output.dim() == target.dim() + 1 and output.shape[-1] == 1:
        return output.squeeze(-1), target
    if target.dim() == output.dim() + 1 and target.shape[-1] == 1:
        return output, target.squeeze(-1)
    if output.dim() == target.dim() == 2 and output.shape[-1] == target.shape[-1] == 1:
        return output.squeeze(-1), target.squeeze(-1)
    return output, target


def _errors(function: Values) -> Callable[[], Values]:
    def values(output: Any, target: Any) -> Any:
        output, target = _alike(output, target)
        if output.shape != target.shape:
            raise ModelError(
                f"a metric compares outputs of shape {tuple(output.shape)} with labels of shape "
                f"{tuple(target.shape)}"
            )
        return function(output, target)

    return lambda: values


def _classes(target: Any, output: Any) -> Any:
    """Return numbers of classes; rows of the output's shape are one-hot."""
    if target.dim() == output.dim() and target.shape == output.shape:
        return target.argmax(-1)
    return target.squeeze(-1) if target.dim() == output.dim() else target


def _sparse_accuracy() -> Values:
    return lambda output, target: output.argmax(-1) == _classes(target, output).long()


def _binary_accuracy(threshold: float = 0.5) -> Values:
    def values(output: Any, target: Any) -> Any:
        output, target = _alike(output, target)
        return (output > threshold) == (target > threshold)

    return values


def _accuracy(zero_based_label: bool = True) -> Values:
    sparse, binary = _sparse_accuracy(), _binary_accuracy()

    def values(output: Any, target: Any) -> Any:
        if output.dim() > 1 and output.shape[-1] > 1:
            shift = 0 if zero_based_label or target.shape == output.shape else 1
            return sparse(output, target - shift)
        return binary(output, target)

    return values


def _top5() -> Values:
    def values(output: Any, target: Any) -> Any:
        best = output.topk(min(5, output.shape[-1]), dim=-1).indices
        return (best == _classes(target, output).long().unsqueeze(-1)).any(-1)

    return values


def _binary_crossentropy(output: Any, target: Any) -> Any:
    return F.binary_cross_entropy(output, target.to(output.dtype), reduction="none")


def _log_of_class(output: Any, target: Any) -> Any:
    chosen = output.gather(-1, _classes(target, output).long().unsqueeze(-1)).squeeze(-1)
    return -chosen.clamp_min(torch.finfo(output.dtype).tiny).log()


def _divergence(output: Any, target: Any) -> Any:
    small = 1e-7
    target, output = target.clamp(small, 1.0), output.clamp(small, 1.0)
    return (target * (target / output).log()).sum(-1)


_MEANS: dict[str, Callable[..., Values]] = {
    "Accuracy": _accuracy,
    "BinaryAccuracy": _binary_accuracy,
    "SparseCategoricalAccuracy": _sparse_accuracy,
    "CategoricalAccuracy": _sparse_accuracy,
    "Top5Accuracy": _top5,
    "MSE": _errors(lambda output, target: (output - target) ** 2),
    "MAE": _errors(lambda output, target: (output - target).abs()),
    "Poisson": _errors(lambda output, target: output - target * (output + 1e-7).log()),
    "BinaryCrossEntropy": _errors(_binary_crossentropy),
    "CategoricalCrossEntropy": lambda: _log_of_class,
    "SparseCategoricalCrossEntropy": lambda: _log_of_class,
    "KLDivergence": _errors(_divergence),
}


def _auc(threshold_num: int = 200) -> Metric:
    return torchmetrics.classification.BinaryAUROC(thresholds=threshold_num)


_SCORES: dict[str, Callable[..., Metric]] = {
    "AUC": _auc,
    "AUROC": torchmetrics.classification.BinaryAUROC,
    "F1Score": torchmetrics.classification.BinaryF1Score,
    "Precision": torchmetrics.classification.BinaryPrecision,
    "Recall": torchmetrics.classification.BinaryRecall,
}
