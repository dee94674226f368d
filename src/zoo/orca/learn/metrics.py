"""Metrics under Orca's names, for `zoo.orca.learn.pytorch`: what to compute, not how.

They are made on the workers, on torchmetrics, and their values are computed from the states of all
workers. Any metric of torchmetrics can be used in their place. Results are named after the class.

Outputs and labels may be

* scores of classes, (batch, classes), with labels that number classes, (batch) or (batch, 1), or
  with one-hot labels of the outputs' shape; beyond two axes classes are the second one where the
  loss is one over classes (`CrossEntropyLoss`), else the last;
* scores of class 1 of two, (batch) or (batch, 1) or more axes, with labels 0 and 1;
* numbers of classes, whole numbers of the labels' shape;
* for errors, numbers of the labels' shape.

A last axis of length one does not count. What scores are, the loss says: with `BCEWithLogitsLoss`
and `CrossEntropyLoss` they are logits, with `NLLLoss` and `KLDivLoss` logarithms; metrics then
compute with the probabilities these stand for. With any other loss, and without one, outputs are
taken for probabilities. Labels that the loss ignores are ignored. Anything else is a `ModelError`.
"""

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

    @property
    def orca_metric(self) -> str:
        """The name of the metric, and of its results."""
        return type(self).__name__

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{type(self).__name__}({given})"


class Accuracy(Metric):
    """The share of rows, or of labels where a row has several, whose class is right.

    Of scores of classes the largest one's is taken; of scores of class 1, class 1 above a
    probability of 0.5; whole numbers are classes themselves. Labels of the outputs' shape,
    (batch, classes), are one-hot.

    Parameters
    ----------
    zero_based_label : bool
        Whether labels beside scores of classes are counted from 0, not from 1.
    """

    def __init__(self, zero_based_label: bool = True) -> None:
        super().__init__(zero_based_label=zero_based_label)


class BinaryAccuracy(Metric):
    """The share of labels, 0 or 1, on whose side of a threshold the probability of class 1 is.

    Outputs of shape (batch, several) with labels of that shape are compared one by one.

    Parameters
    ----------
    threshold : float
    """

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__(threshold=threshold)


class SparseCategoricalAccuracy(Metric):
    """The share of labels, numbers of classes, whose class has the largest score."""


class CategoricalAccuracy(Metric):
    """The share of rows whose largest score is where the label's, a one-hot row, is."""


class Top5Accuracy(Metric):
    """The share of labels whose class has one of the five largest scores."""


class MSE(Metric):
    """The mean squared error."""


class MAE(Metric):
    """The mean absolute error."""


class BinaryCrossEntropy(Metric):
    """The mean binary cross-entropy, over all labels; probabilities are kept 1e-7 from 0 and 1."""


class CategoricalCrossEntropy(Metric):
    """The mean cross-entropy of scores of classes and one-hot labels, or labels' probabilities.

    Probabilities are kept 1e-7 from 0 and 1.
    """


class SparseCategoricalCrossEntropy(Metric):
    """The mean cross-entropy of scores of classes and labels that number them.

    Probabilities are kept 1e-7 from 0 and 1.
    """


class KLDivergence(Metric):
    """The mean Kullback-Leibler divergence of the outputs from the labels, both probabilities.

    Both are kept 1e-7 from 0.
    """


class Poisson(Metric):
    """The mean of output - label * log(output)."""


class AUC(Metric):
    """The area under the ROC curve of class 1 of two, by so many thresholds.

    Outputs of shape (batch, several) with labels of that shape count one by one.

    Parameters
    ----------
    threshold_num : int
        Thresholds by which the curve is approximated; from 2.
    """

    def __init__(self, threshold_num: int = 200) -> None:
        if not isinstance(threshold_num, int) or threshold_num < 2:
            raise InvalidInputError(
                f"threshold_num must be a whole number from 2, got {threshold_num!r}"
            )
        super().__init__(threshold_num=threshold_num)


class AUROC(Metric):
    """The area under the ROC curve of class 1 of two, exactly: every worker's rows are gathered."""


class _OfClasses(Metric):
    """A metric of what each class has right and wrong."""

    def __init__(self, average: str | None = None) -> None:
        if average is not None and average not in _AVERAGES:
            raise InvalidInputError(f"average must be one of {_AVERAGES}, got {average!r}")
        super().__init__(average=average)


class F1Score(_OfClasses):
    """The harmonic mean of precision and recall.

    Parameters
    ----------
    average : str, optional
        Over which classes: "binary" is that of class 1; "micro" counts all classes together (for
        several classes it is the accuracy); "macro" is the mean over the classes that occur,
        "weighted" the mean by how many rows each has; "none" gives one result a class. By default
        that of class 1 of two, and "micro" for more, as in the original.
    """


class Precision(_OfClasses):
    """The share of rows called a class that are of it.

    Parameters
    ----------
    average : str, optional
        Over which classes: "binary" is that of class 1; "micro" counts all classes together (for
        several classes it is the accuracy); "macro" is the mean over the classes that occur,
        "weighted" the mean by how many rows each has; "none" gives one result a class. By default
        that of class 1 of two, and "micro" for more, as in the original.
    """


class Recall(_OfClasses):
    """The share of a class's rows that are called so.

    Parameters
    ----------
    average : str, optional
        Over which classes: "binary" is that of class 1; "micro" counts all classes together (for
        several classes it is the accuracy); "macro" is the mean over the classes that occur,
        "weighted" the mean by how many rows each has; "none" gives one result a class. By default
        that of class 1 of two, and "micro" for more, as in the original.
    """


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
