"""Metrics under Orca's names, for `zoo.orca.learn.pytorch`: what to compute, not how.

Workers build them on torchmetrics and compute the values from the states of all workers. Any metric
of torchmetrics can be used instead. Results are named after the class. A metric can also be called
by itself, in this process: ``metric(predictions, targets)``, then ``metric.compute()``.

Outputs and labels may be

* scores of classes, (batch, classes), with labels that are class numbers, (batch) or (batch, 1), or
  one-hot in the outputs' shape. With more than two axes, the second one counts classes if the loss
  is over classes (`CrossEntropyLoss`), else the last one does;
* scores of class 1 of two, (batch) or (batch, 1) or more axes, with labels 0 and 1;
* numbers of classes, whole numbers of the labels' shape;
* for errors, numbers of the labels' shape.

A last axis of length one does not count. The loss says what scores are. With `BCEWithLogitsLoss`
and `CrossEntropyLoss` they are logits; with `NLLLoss` and `KLDivLoss` they are logarithms. Metrics
turn both into probabilities. With any other loss, or none, outputs are probabilities. Metrics
ignore labels that the loss ignores. Anything else is a `ModelError`.
"""

from collections.abc import Callable
from typing import Any

from zoo.orca.errors import InvalidInputError

_AVERAGES = ("binary", "micro", "macro", "weighted", "none")


class Metric:
    """A metric by its name and arguments.

    Attributes
    ----------
    orca_metric : str
        The name of the metric, and of its results.
    arguments : dict
    """

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self._computed: Any = None

    def __call__(self, preds: Any, targets: Any) -> None:
        """Add a batch, in this process; outputs are probabilities.

        Parameters
        ----------
        preds, targets : torch.Tensor
            The model's outputs and the labels.
        """
        if self._computed is None:
            from zoo.orca.frameworks.torch.metrics.given import alone

            self._computed = alone(self)
        self._computed.update(preds, targets)

    def update(self, preds: Any, targets: Any) -> None:
        """Add a batch; the same as a call."""
        self(preds, targets)

    def compute(self) -> Any:
        """Return the value of all batches that were added in this process.

        Raises
        ------
        InvalidInputError
            If there were none.
        """
        if self._computed is None:
            raise InvalidInputError(
                f"{self!r} has seen no batch yet\nCall it first: metric(predictions, targets)"
            )
        return self._computed.compute()

    def reset(self) -> None:
        """Forget all batches."""
        self._computed = None

    def __getstate__(self) -> dict[str, Any]:
        # What it has seen in this process is no worker's.
        return {**self.__dict__, "_computed": None}

    @property
    def orca_metric(self) -> str:
        """The name of the metric, and of its results."""
        return type(self).__name__

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{type(self).__name__}({given})"


class Accuracy(Metric):
    """The share of rows, or of labels if a row has several, whose class is right.

    With scores of classes, the class of the largest score is taken; with scores of class 1, class 1
    above a probability of 0.5. Whole numbers are classes themselves. Labels of the outputs' shape,
    (batch, classes), are one-hot.

    Parameters
    ----------
    zero_based_label : bool
        Whether labels for scores of classes count from 0, not from 1.
    """

    def __init__(self, zero_based_label: bool = True) -> None:
        super().__init__(zero_based_label=zero_based_label)


class BinaryAccuracy(Metric):
    """The share of labels, 0 or 1, on the same side of a threshold as class 1's probability.

    Outputs of shape (batch, several) with labels of that shape are compared one by one.

    Parameters
    ----------
    threshold : float
    """

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__(threshold=threshold)


class SparseCategoricalAccuracy(Metric):
    """The share of labels, which are class numbers, whose class has the largest score."""


class CategoricalAccuracy(Metric):
    """The share of rows whose largest score is at the one of the one-hot label."""


class Top5Accuracy(Metric):
    """The share of labels whose class has one of the five largest scores."""


class MSE(Metric):
    """The mean squared error."""


class MAE(Metric):
    """The mean absolute error."""


class BinaryCrossEntropy(Metric):
    """The mean binary cross-entropy of all labels; probabilities stay 1e-7 away from 0 and 1."""


class CategoricalCrossEntropy(Metric):
    """The mean cross-entropy of scores of classes and labels, one-hot or probabilities.

    Probabilities stay 1e-7 away from 0 and 1.
    """


class SparseCategoricalCrossEntropy(Metric):
    """The mean cross-entropy of scores of classes and labels that are class numbers.

    Probabilities stay 1e-7 away from 0 and 1.
    """


class KLDivergence(Metric):
    """The mean Kullback-Leibler divergence of the outputs from the labels, both probabilities.

    Both stay 1e-7 away from 0.
    """


class Poisson(Metric):
    """The mean of output - label * log(output)."""


class AUC(Metric):
    """The area under the ROC curve of class 1 of two, approximated by thresholds.

    Outputs of shape (batch, several) with labels of that shape count one by one.

    Parameters
    ----------
    threshold_num : int
        The number of thresholds, at least 2.
    """

    def __init__(self, threshold_num: int = 200) -> None:
        if not isinstance(threshold_num, int) or threshold_num < 2:
            raise InvalidInputError(
                f"threshold_num must be a whole number from 2, got {threshold_num!r}\n"
                "Write threshold_num=200, which is the default, or more for a closer value"
            )
        super().__init__(threshold_num=threshold_num)


class AUROC(Metric):
    """The exact area under the ROC curve of class 1 of two; it gathers all workers' rows."""


class _Curve(Metric):
    """A curve over thresholds between 0 and 1."""

    def __init__(self, threshold_num: int = 200) -> None:
        if not isinstance(threshold_num, int) or threshold_num < 2:
            raise InvalidInputError(
                f"threshold_num must be a whole number from 2, got {threshold_num!r}\n"
                "Write threshold_num=200, which is the default, or more for a finer curve"
            )
        super().__init__(threshold_num=threshold_num)


class ROC(_Curve):
    """The ROC curve of class 1 of two: false and true positive rates, and thresholds.

    `compute` returns them as three tensors, by falling thresholds. `evaluate` has them as a dict of
    arrays, ``fpr``, ``tpr`` and ``thresholds``; `fit` does not compute it.

    Parameters
    ----------
    threshold_num : int
        The number of thresholds, at least 2.
    """


class PrecisionRecallCurve(_Curve):
    """Precision and recall of class 1 of two over thresholds.

    `compute` returns three tensors: precision and recall by rising thresholds, both with a last
    point (1, 0) beyond them, and the thresholds. `evaluate` has them as a dict of arrays,
    ``precision``, ``recall`` and ``thresholds``; `fit` does not compute it.

    Parameters
    ----------
    threshold_num : int
        The number of thresholds, at least 2.
    """


class CustomizedMetric(Metric):
    """A function of your own, averaged over rows; its name is the function's.

    Parameters
    ----------
    func : callable
        ``func(predictions, targets)`` returns a value a row, or their mean.
    """

    def __init__(self, func: Callable[[Any, Any], Any]) -> None:
        if not callable(func):
            raise InvalidInputError(
                f"func must be a function, got {type(func).__qualname__}\n"
                "Write def metric(predictions, targets): ..., and let it return a mean"
            )
        super().__init__(func=func)

    @property
    def orca_metric(self) -> str:
        """The function's name, which that of its results is."""
        return str(getattr(self.arguments["func"], "__name__", "CustomizedMetric")).strip("<>")


class _OfClasses(Metric):
    """A metric of the right and wrong results of each class."""

    def __init__(self, average: str | None = None) -> None:
        if average is not None and average not in _AVERAGES:
            raise InvalidInputError(
                f"average must be one of {_AVERAGES}, got {average!r}\n"
                "Leave it out for the default, or write average='macro' for the mean over classes"
            )
        super().__init__(average=average)


class F1Score(_OfClasses):
    """The harmonic mean of precision and recall.

    Parameters
    ----------
    average : str, optional
        How to combine classes. "binary": class 1 only. "micro": all classes counted together (for
        several classes, the accuracy). "macro": the mean over the classes that occur. "weighted":
        the mean weighted by the classes' rows. "none": one result a class. The default is "binary"
        for two classes and "micro" for more, as in the original.
    """


class Precision(_OfClasses):
    """The share of rows predicted as a class that belong to it.

    Parameters
    ----------
    average : str, optional
        How to combine classes, as for `F1Score`.
    """


class Recall(_OfClasses):
    """The share of a class's rows that are predicted as that class.

    Parameters
    ----------
    average : str, optional
        How to combine classes, as for `F1Score`.
    """


__all__ = [
    "AUC",
    "AUROC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossEntropy",
    "CategoricalAccuracy",
    "CategoricalCrossEntropy",
    "CustomizedMetric",
    "F1Score",
    "KLDivergence",
    "MAE",
    "MSE",
    "Metric",
    "Poisson",
    "Precision",
    "PrecisionRecallCurve",
    "ROC",
    "Recall",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossEntropy",
    "Top5Accuracy",
]
