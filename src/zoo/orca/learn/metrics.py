"""Metrics under Orca's names, for `zoo.orca.learn.pytorch`: what to compute, not how.

They are made on the workers, on torchmetrics, and their values are computed from the states of all
workers. Any metric of torchmetrics can be used in their place. Results are named after the class.
"""

from typing import Any


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

    @property
    def orca_metric(self) -> str:
        """The name of the metric, and of its results."""
        return type(self).__name__

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{type(self).__name__}({given})"


class Accuracy(Metric):
    """The share of rows whose class is right.

    Outputs of shape (batch, classes) give the class with the largest value; others are compared
    with 0.5.

    Parameters
    ----------
    zero_based_label : bool
        Whether classes are counted from 0, not from 1.
    """

    def __init__(self, zero_based_label: bool = True) -> None:
        super().__init__(zero_based_label=zero_based_label)


class BinaryAccuracy(Metric):
    """The share of outputs on the label's side of a threshold.

    Parameters
    ----------
    threshold : float
    """

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__(threshold=threshold)


class SparseCategoricalAccuracy(Metric):
    """The share of rows whose largest output is that of the label, the number of a class."""


class CategoricalAccuracy(Metric):
    """The share of rows whose largest output is that of the label, a one-hot row."""


class Top5Accuracy(Metric):
    """The share of rows whose label is among the five largest outputs."""


class MSE(Metric):
    """The mean squared error."""


class MAE(Metric):
    """The mean absolute error."""


class BinaryCrossEntropy(Metric):
    """The mean binary cross-entropy of probabilities."""


class CategoricalCrossEntropy(Metric):
    """The mean cross-entropy of probabilities and one-hot labels."""


class SparseCategoricalCrossEntropy(Metric):
    """The mean cross-entropy of probabilities and numbers of classes."""


class KLDivergence(Metric):
    """The mean Kullback-Leibler divergence of probabilities from the labels' ones."""


class Poisson(Metric):
    """The mean Poisson loss."""


class AUC(Metric):
    """The area under the ROC curve of probabilities.

    Parameters
    ----------
    threshold_num : int
        Thresholds by which the curve is approximated.
    """

    def __init__(self, threshold_num: int = 200) -> None:
        super().__init__(threshold_num=threshold_num)


class AUROC(Metric):
    """The area under the ROC curve, exactly: every worker's rows are gathered."""


class F1Score(Metric):
    """The harmonic mean of precision and recall, of two classes."""


class Precision(Metric):
    """The share of rows called positive that are."""


class Recall(Metric):
    """The share of positive rows that are called so."""


__all__ = [
    "AUC",
    "AUROC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossEntropy",
    "CategoricalAccuracy",
    "CategoricalCrossEntropy",
    "F1Score",
    "KLDivergence",
    "MAE",
    "MSE",
    "Metric",
    "Poisson",
    "Precision",
    "Recall",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossEntropy",
    "Top5Accuracy",
]
