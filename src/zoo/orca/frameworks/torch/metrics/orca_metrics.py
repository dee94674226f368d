"""Orca's metrics on torchmetrics: those that `zoo.orca.learn.metrics` names."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F
from torchmetrics import Metric

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.torch.device import flat_tensors
from zoo.orca.frameworks.torch.metrics.inputs import LOGITS, SMALL, Outputs, Reader

Values = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class MeanOfRows(Metric):  # type: ignore[misc]
    """The mean of one value per row, or per element if rows have several.

    Parameters
    ----------
    values : callable
        Computes values from outputs and targets.
    """

    full_state_update = False

    def __init__(self, values: Values) -> None:
        super().__init__()
        self._values = values
        zero = torch.tensor(0.0, dtype=torch.float64)
        self.add_state("total", zero, dist_reduce_fx="sum")
        self.add_state("count", zero.clone(), dist_reduce_fx="sum")

    def update(self, output: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        values = self._values(output, target)
        self.total += values.double().sum()
        self.count += values.numel()

    def compute(self) -> torch.Tensor:
        """Return the mean."""
        return self.total / self.count


class MeanOfCalls(Metric):  # type: ignore[misc]
    """The mean of a user's function, which returns a value per row, or a mean over its rows."""

    full_state_update = False

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self._function = function
        zero = torch.tensor(0.0, dtype=torch.float64)
        self.add_state("total", zero, dist_reduce_fx="sum")
        self.add_state("count", zero.clone(), dist_reduce_fx="sum")

    def update(self, output: Structure, target: Structure) -> None:
        """Add a batch."""
        values = torch.as_tensor(self._function(output, target)).double()
        rows = len(next(iter(flat_tensors(target).values())))
        self.total += values.mean() * rows
        self.count += rows

    def compute(self) -> torch.Tensor:
        """Return the mean."""
        return self.total / self.count


class MetricOfKey(Metric):  # type: ignore[misc]
    """A metric of one entry of outputs and labels that are dicts.

    Parameters
    ----------
    metric : torchmetrics.Metric
    key : str
    """

    full_state_update = False

    def __init__(self, metric: Metric, key: str) -> None:
        super().__init__()
        self._metric, self._key = metric, key
        if (axes := getattr(metric, "axes", None)) is not None:
            self.axes = axes

    def update(self, output: Structure, target: Structure) -> None:
        """Add a batch."""
        self._metric.update(output[self._key], target[self._key])

    def compute(self) -> torch.Tensor:
        """Return the metric's value."""
        return self._metric.compute()

    def reset(self) -> None:
        """Begin anew, and let the metric do so."""
        super().reset()
        self._metric.reset()


class Confusion(Metric):  # type: ignore[misc]
    """Precision, recall or their harmonic mean, from each class's right and wrong predictions.

    Parameters
    ----------
    score : callable
        Computes a score's dividend and divisor from hits, false alarms and misses. These are arrays
        over classes, or numbers.
    reader : Reader
    average : str or None
        As in `zoo.orca.learn.metrics.F1Score`.
    """

    full_state_update = False
    is_bounded = True
    counts: list[torch.Tensor]

    def __init__(self, score: Callable[..., Any], reader: Reader, average: str | None) -> None:
        super().__init__()
        self._score, self._reader, self._average = score, reader, average
        # The number of classes may be known late, and differ on each worker.
        self.add_state("counts", [], dist_reduce_fx=_sum_of_classes)

    def update(self, output: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        predicted, true, classes = self._reader.numbers(output, target)
        if bool((true < 0).any()):
            raise ModelError(
                f"{self._reader.name}: the label {int(true.min())} is no class\n"
                "Count classes from 0"
            )
        highest = int(torch.cat([predicted, true]).max()) if len(true) else 0
        width = max(classes or 2, highest + 1)
        right = predicted == true
        hits, called, there = (
            torch.bincount(one, minlength=width) for one in (true[right], predicted, true)
        )
        own = torch.stack([hits, called - hits, there - hits])
        self.counts = [_sum_of_classes([*self.counts, own])]

    def compute(self) -> torch.Tensor:
        """Return the score, or one for each class."""
        counts = _sum_of_classes(self.counts) if self.counts else torch.zeros(3, 2)
        average = self._average or ("binary" if counts.shape[1] == 2 else "micro")
        if average == "binary" and counts.shape[1] != 2:
            raise ModelError(
                f"{self._reader.name}(average='binary') is of two classes, and there are "
                f"{counts.shape[1]}\nUse 'micro', 'macro' or 'weighted', or leave it out"
            )
        if average == "micro":
            return _ratio(*self._score(*counts.sum(1)))
        scores = _ratio(*self._score(*counts))
        if average == "binary":
            return scores[1]
        if average == "none":
            return scores
        if average == "macro":
            return scores[counts.sum(0) > 0].mean()
        there = (counts[0] + counts[2]).double()
        return (scores * there).sum() / there.sum()


class Area(Metric):  # type: ignore[misc]
    """The area under the ROC curve by fixed thresholds, with the counts of all workers together."""

    full_state_update = False

    def __init__(self, reader: Reader, thresholds: int) -> None:
        super().__init__()
        self._reader, self._thresholds = reader, thresholds
        zeros = torch.zeros(2, thresholds, dtype=torch.float64)
        self.add_state("above", zeros, dist_reduce_fx="sum")
        self.add_state("rows", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, output: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        chance, positive = self._reader.positives(output, target)
        self._reader.check_probabilities(chance)
        bounds = torch.linspace(0, 1, self._thresholds, device=chance.device).double()
        for k, rows in enumerate((chance[~positive], chance[positive])):
            # How many thresholds a score reaches; it counts for each of them.
            reached = torch.bucketize(rows, bounds, right=True)
            counts = torch.bincount(reached, minlength=self._thresholds + 1)
            self.above[k] += counts.flip(0).cumsum(0).flip(0)[1:].double()
            self.rows[k] += len(rows)

    def compute(self) -> torch.Tensor:
        """Return the area; NaN without rows of both classes."""
        rates = self.above / self.rows[:, None]
        ends = [torch.zeros(2, 1, dtype=torch.float64, device=rates.device), rates.flip(1)]
        false, true = torch.cat(ends, dim=1)
        return torch.trapezoid(true, false)


class Curve(Area):
    """A curve over fixed thresholds, with the counts of all workers together.

    Attributes
    ----------
    axes : tuple of str
        What the parts of its value are.
    """

    axes: tuple[str, ...] = ()

    @property
    def _bounds(self) -> torch.Tensor:
        return torch.linspace(0, 1, self._thresholds, device=self.rows.device).double()


class RocCurve(Curve):
    """False and true positive rates by falling thresholds."""

    axes = ("fpr", "tpr", "thresholds")

    def compute(self) -> tuple[torch.Tensor, ...]:
        """Return the rates and the thresholds; NaN for a class without rows."""
        false, true = (self.above / self.rows[:, None]).flip(1)
        return false, true, self._bounds.flip(0)


class RecallCurve(Curve):
    """Precision and recall by rising thresholds, and a last point (1, 0)."""

    axes = ("precision", "recall", "thresholds")

    def compute(self) -> tuple[torch.Tensor, ...]:
        """Return both and the thresholds; NaN is what no row tells."""
        precision = self.above[1] / self.above.sum(0)
        ends = self.above.new_ones(1), self.above.new_zeros(1)
        recall = self.above[1] / self.rows[1]
        return torch.cat([precision, ends[0]]), torch.cat([recall, ends[1]]), self._bounds


class ExactArea(Metric):  # type: ignore[misc]
    """The area under the ROC curve from all rows: how probably a positive row scores higher."""

    full_state_update = False

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("positive", [], dist_reduce_fx="cat")

    def update(self, output: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch."""
        scores, positive = self._reader.positives(output, target, ranks=True)
        self.scores.append(scores)
        self.positive.append(positive)

    def compute(self) -> torch.Tensor:
        """Return the area; NaN without rows of both classes."""
        if not self.scores:
            return torch.tensor(float("nan"))
        values, positive = torch.cat(list(self.scores)), torch.cat(list(self.positive)).double()
        _, place = values.unique(return_inverse=True)
        hits = torch.bincount(place, positive)
        others = torch.bincount(place, 1 - positive)
        below = others.cumsum(0) - others / 2
        return (hits * below).sum() / (hits.sum() * others.sum())


def make(name: str, arguments: dict[str, Any], outputs: Outputs) -> Metric:
    """Return the metric for one of Orca's names, for a model with such outputs."""
    reader = Reader(name, outputs)
    if name in _MEANS:
        return MeanOfRows(_MEANS[name](reader, **arguments))
    if name in _RATIOS:
        return Confusion(_RATIOS[name], reader, **arguments)
    if name in _THRESHOLDS:
        return _THRESHOLDS[name](reader, arguments["threshold_num"])
    return ExactArea(reader)


def curve_values(name: str, value: Sequence[torch.Tensor], axes: Sequence[str]) -> dict[str, float]:
    """Return a curve's numbers by their places, ``name[axis][k]``: results are numbers by name."""
    return {
        f"{name}[{axis}][{k}]": float(one)
        for axis, values in zip(axes, value, strict=True)
        for k, one in enumerate(values.tolist())
    }


def _sum_of_classes(counts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Add up counts of shape (3, classes), some of which have fewer classes."""
    most = max(one.shape[1] for one in counts)
    return torch.stack([F.pad(one, (0, most - one.shape[1])) for one in counts]).sum(0)


def _ratio(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Return quotients; 0 for a divisor of 0."""
    whole = whole.double()
    return torch.where(whole > 0, part.double() / whole.clamp_min(1), 0.0)


def _accuracy(reader: Reader, zero_based_label: bool = True) -> Values:
    def values(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        predicted, true, _ = reader.numbers(output, target, shift=0 if zero_based_label else 1)
        return predicted == true

    return values


def _best(reader: Reader, count: int) -> Values:
    """Return whether a label is among the largest outputs."""

    def values(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        scores = reader.required_scores(output, target)
        best = scores.output.topk(min(count, scores.classes), dim=scores.axis).indices
        if scores.is_sparse:
            label = reader.whole(scores.target)
        else:
            label = scores.target.argmax(scores.axis)
        found = (best == label.unsqueeze(scores.axis)).any(scores.axis)
        return found[reader.kept(scores.target)] if scores.is_sparse else found

    return values


def _binary_accuracy(reader: Reader, threshold: float = 0.5) -> Values:
    def values(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        chance, positive = reader.positives(output, target)
        return (chance > threshold) == positive

    return values


def _errors(function: Values) -> Callable[[Reader], Values]:
    return lambda reader: lambda output, target: function(*reader.same(output, target))


def _binary_crossentropy(reader: Reader) -> Values:
    def values(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        output, target = reader.same(output, target)
        if reader.outputs.kind == LOGITS:
            return F.binary_cross_entropy_with_logits(output, target, reduction="none")
        reader.check_probabilities(output)
        chance = output.clamp(SMALL, 1 - SMALL)
        return -(target * chance.log() + (1 - target) * (1 - chance).log())

    return values


def _divergence(reader: Reader) -> Values:
    def values(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        scores = reader.required_scores(output, target)
        if scores.is_sparse:
            raise reader.misfit(output, target, "probabilities of classes on both sides")
        true = scores.target.double().clamp(SMALL, 1.0)
        ours = reader.probabilities(scores).clamp(SMALL, 1.0)
        return (true * (true / ours).log()).sum(scores.axis)

    return values


_MEANS: dict[str, Callable[..., Values]] = {
    "Accuracy": _accuracy,
    "BinaryAccuracy": _binary_accuracy,
    "SparseCategoricalAccuracy": lambda reader: _best(reader, 1),
    "CategoricalAccuracy": lambda reader: _best(reader, 1),
    "Top5Accuracy": lambda reader: _best(reader, 5),
    "MSE": _errors(lambda output, target: (output - target) ** 2),
    "MAE": _errors(lambda output, target: (output - target).abs()),
    "Poisson": _errors(lambda output, target: output - target * (output + SMALL).log()),
    "BinaryCrossEntropy": _binary_crossentropy,
    "CategoricalCrossEntropy": lambda reader: reader.entropies,
    "SparseCategoricalCrossEntropy": lambda reader: reader.entropies,
    "KLDivergence": _divergence,
}

#: Computed from hits, false alarms and misses.
_RATIOS: dict[str, Callable[..., Any]] = {
    "F1Score": lambda hits, alarms, misses: (2 * hits, 2 * hits + alarms + misses),
    "Precision": lambda hits, alarms, misses: (hits, hits + alarms),
    "Recall": lambda hits, alarms, misses: (hits, hits + misses),
}

#: Computed from counts at fixed thresholds.
_THRESHOLDS: dict[str, type[Area]] = {
    "AUC": Area,
    "ROC": RocCurve,
    "PrecisionRecallCurve": RecallCurve,
}
