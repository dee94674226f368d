"""What metrics read from outputs and labels, in any of the usual forms.

::

    outputs                            labels                         are read as
    (batch, classes)                   (batch), (batch, 1)            scores of classes, a number
    (batch, classes, ...)              (batch, ...)                   the same, as CrossEntropyLoss
    (batch, ..., classes)              (batch, ...)                   the same, as Keras
    (batch, ..., classes)              the same shape                 scores, and one-hot labels
    (batch), (batch, 1), (batch, ...)  the same shape                 a score of class 1
    the same, whole numbers            the same shape                 the number of a class

The model's loss determines whether scores are probabilities, logits or logarithms. Nothing here may
look at the magnitude of a batch's numbers, because another batch could decide differently.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional as F

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.torch.training.losses import LossFunction
from zoo.orca.wire.outputs import Scale

LOGITS, CLASS_LOGITS, CLASS_LOGS = "logits", "logits of classes", "logarithms"
_SCALES = {LOGITS: Scale.LOGITS, CLASS_LOGITS: Scale.LOGITS, CLASS_LOGS: Scale.LOGARITHMS}
#: As in Keras and the original: a logarithm stays finite.
SMALL = 1e-7
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class Outputs:
    """The meaning of a model's outputs.

    Parameters
    ----------
    kind : str
        One of this module's names; empty: probabilities, or the user's own meaning.
    ignored : int or None
        The label that the loss and the metrics ignore.
    """

    kind: str = ""
    ignored: int | None = None

    @property
    def is_of_classes(self) -> bool:
        """Whether the loss is over classes, so that the second axis is that of classes."""
        return self.kind in (CLASS_LOGITS, CLASS_LOGS)


def outputs_for(loss: LossFunction | None) -> Outputs:
    """Return the meaning of outputs from their loss."""
    if isinstance(loss, torch.nn.BCEWithLogitsLoss) or loss is F.binary_cross_entropy_with_logits:
        return Outputs(LOGITS)
    if isinstance(loss, torch.nn.CrossEntropyLoss):
        return Outputs(CLASS_LOGITS, loss.ignore_index)
    if isinstance(loss, torch.nn.NLLLoss):
        return Outputs(CLASS_LOGS, loss.ignore_index)
    if isinstance(loss, torch.nn.KLDivLoss) or loss is F.kl_div:
        return Outputs(CLASS_LOGS)
    return Outputs()


def scale_of(loss: LossFunction | None) -> Scale | None:
    """Return what a loss says that the outputs of classes are."""
    if isinstance(loss, torch.nn.BCELoss) or loss is F.binary_cross_entropy:
        return Scale.PROBABILITIES
    return _SCALES.get(outputs_for(loss).kind)


class Scores(NamedTuple):
    """Scores of classes along an axis, and labels: numbers, or of the same shape."""

    output: torch.Tensor
    target: torch.Tensor
    axis: int

    @property
    def is_sparse(self) -> bool:
        """Whether labels are class numbers."""
        return bool(self.target.dim() < self.output.dim())

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.output.shape[self.axis])


class Reader:
    """Reads for one metric.

    Parameters
    ----------
    name : str
        The metric's name, for errors.
    outputs : Outputs
    """

    def __init__(self, name: str, outputs: Outputs) -> None:
        self.name, self.outputs = name, outputs

    def same(self, output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both in one shape, in double precision."""
        self._check_tensors(output, target)
        output, target = _alike(output, target)
        if output.shape != target.shape:
            raise self.misfit(output, target, "an output for each label: both of one shape")
        return output.double(), target.double()

    def scores(self, output: torch.Tensor, target: torch.Tensor) -> Scores | None:
        """Return scores of classes; None if outputs have no axis for them."""
        self._check_tensors(output, target)
        for labels in (target, *_squeezed(target)):
            axis = self._axis(output, labels)
            if axis is not None:
                return Scores(_full(output), labels, axis)
        if output.shape == target.shape and output.dim() > 1 and output.is_floating_point():
            axis = 1 if self.outputs.is_of_classes else -1
            if output.shape[axis] > 1:
                return Scores(_full(output), target, axis)
        return None

    def required_scores(self, output: torch.Tensor, target: torch.Tensor) -> Scores:
        """Return scores of classes.

        Raises
        ------
        ModelError
            If outputs have no axis for them.
        """
        found = self.scores(output, target)
        if found is None:
            raise self.misfit(output, target, "a score for each class: outputs (batch, classes)")
        return found

    def numbers(
        self, output: torch.Tensor, target: torch.Tensor, *, shift: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor, int | None]:
        """Return predicted and true classes, flat, and the number of classes if it is known.

        Class labels beside scores are counted from `shift`.
        """
        scores = self.scores(output, target)
        if scores is None:
            return *self._numbers_alike(output, target), None
        best = scores.output.argmax(scores.axis)
        if scores.is_sparse:
            kept = self.kept(scores.target)
            return best[kept], self.whole(scores.target[kept]) - shift, scores.classes
        sums = scores.target.double().sum(scores.axis)
        if bool(((sums - 1).abs() > 1e-3).any()):
            raise ModelError(
                f"{self.name} takes labels of shape {tuple(target.shape)} for one-hot rows, and "
                "some do not add up to 1\n"
                "For elements by themselves pass BinaryAccuracy(), or a metric of torchmetrics "
                f"such as MultilabelF1Score(num_labels={scores.classes})"
            )
        return best.flatten(), scores.target.argmax(scores.axis).flatten(), scores.classes

    def _numbers_alike(
        self, output: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        output, target = _alike(output, target)
        if output.shape != target.shape:
            raise self.misfit(output, target, "outputs (batch, classes), or a score a label")
        output, target = output.flatten(), self.whole(target.flatten())
        if not output.is_floating_point():
            return output.long(), target
        is_two = (target == 0) | (target == 1)
        if self.outputs.kind == LOGITS:
            self._check_two(target, is_two)
            return (output > 0).long(), target
        is_whole = output == output.round()
        self._check_two(target, is_two | is_whole)
        return torch.where(is_whole, output, (output > 0.5).to(output.dtype)).long(), target

    def positives(
        self, output: torch.Tensor, target: torch.Tensor, *, ranks: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return, flat, a score of class 1 for each label, and whether that is the class.

        The score is a probability if the loss tells how to compute one. If only the order matters,
        the score stays unchanged, so that rounding near 0 and 1 makes no scores equal.
        """
        scores = self.scores(output, target)
        if scores is not None and scores.is_sparse:
            if scores.classes != 2:
                raise ModelError(
                    f"{self.name} is of two classes, and the outputs have {scores.classes}\n"
                    "Pass a metric of torchmetrics, "
                    f"MulticlassAUROC(num_classes={scores.classes})"
                )
            kept = self.kept(scores.target)
            if ranks and self.outputs.is_of_classes:
                none, one = scores.output.double().unbind(scores.axis)
                chance = (one - none)[kept]
            else:
                chance = self.probabilities(scores).select(scores.axis, 1)[kept]
            target = self.whole(scores.target[kept])
        else:
            chance, target = self.same(output, target)
            chance, target = chance.flatten(), self.whole(target.flatten())
            if self.outputs.kind == LOGITS and not ranks:
                chance = chance.sigmoid()
        self._check_two(target, (target == 0) | (target == 1))
        return chance, target == 1

    def probabilities(self, scores: Scores) -> torch.Tensor:
        """Return probabilities of classes, in double precision."""
        output = scores.output.double()
        if self.outputs.kind == CLASS_LOGITS:
            return output.softmax(scores.axis)
        if self.outputs.kind == CLASS_LOGS:
            return output.exp()
        self.check_probabilities(output)
        return output

    def logarithms(self, scores: Scores) -> torch.Tensor:
        """Return logarithms of class probabilities, in double precision."""
        output = scores.output.double()
        if self.outputs.kind == CLASS_LOGITS:
            return output.log_softmax(scores.axis)
        if self.outputs.kind == CLASS_LOGS:
            return output
        self.check_probabilities(output)
        return output.clamp(SMALL, 1 - SMALL).log()

    def entropies(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of each label with its scores of classes."""
        scores = self.required_scores(output, target)
        logs = self.logarithms(scores)
        if not scores.is_sparse:
            return -(scores.target.double() * logs).sum(scores.axis)
        kept = self.kept(scores.target)
        labels = self.whole(scores.target)[kept]
        if bool(((labels < 0) | (labels >= scores.classes)).any()):
            raise ModelError(
                f"{self.name}: a label is outside 0…{scores.classes - 1}, the classes that the "
                "model has outputs for\n"
                "Count classes from 0, or give the model's last layer more outputs"
            )
        return -logs.movedim(scores.axis, -1)[kept].gather(-1, labels[:, None])

    def check_probabilities(self, output: torch.Tensor) -> None:
        """Refuse values that cannot be probabilities."""
        low, high = (float(value) for value in output.aminmax()) if output.numel() else (0.0, 1.0)
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ModelError(
                f"{self.name} takes probabilities, and the model's outputs go from {low:.4g} to "
                f"{high:.4g}\n"
                "Let forward end in sigmoid or softmax, or use a loss that says what its logits "
                "are: nn.BCEWithLogitsLoss or nn.CrossEntropyLoss"
            )

    def _axis(self, output: torch.Tensor, labels: torch.Tensor) -> int | None:
        if output.dim() != labels.dim() + 1 or output.dim() < 2:
            return None
        first = output.shape[0] == labels.shape[0] and output.shape[2:] == labels.shape[1:]
        last = output.shape[:-1] == labels.shape
        order = (1, -1) if self.outputs.is_of_classes else (-1, 1)
        for axis in order:
            if (first if axis == 1 else last) and output.shape[axis] > 1:
                return axis
        return None

    def kept(self, labels: torch.Tensor) -> torch.Tensor:
        """Return which labels count: those that the loss does not ignore."""
        if self.outputs.ignored is None:
            return torch.ones_like(labels, dtype=torch.bool)
        return labels != self.outputs.ignored

    def whole(self, labels: torch.Tensor) -> torch.Tensor:
        """Return class numbers as integers."""
        if labels.is_floating_point():
            odd = labels != labels.round()
            if bool(odd.any()):
                raise ModelError(
                    f"{self.name} takes the numbers of classes as labels, and there is "
                    f"{float(labels[odd][0]):.4g}\n"
                    "Pass MSE() or MAE() for numbers that are measured"
                )
        return labels.long()

    def _check_two(self, labels: torch.Tensor, good: torch.Tensor) -> None:
        if not bool(good.all()):
            raise ModelError(
                f"{self.name} compares scores of two classes, (batch), with labels 0 and 1, and "
                f"there is the label {int(labels[~good][0])}\n"
                "Let the model have an output for each class, (batch, classes), or the labels be "
                "0 and 1"
            )

    def _check_tensors(self, output: object, target: object) -> None:
        for what, value in (("output", output), ("label", target)):
            if not isinstance(value, torch.Tensor):
                shown = "nothing" if value is None else f"a {type(value).__name__}"
                raise ModelError(
                    f"{self.name} compares one output with one label, and the {what} is {shown}\n"
                    "Pass metrics as a function of both, metrics=[my_metric] with "
                    "my_metric(output, target)"
                )

    def misfit(self, output: torch.Tensor, target: torch.Tensor, wanted: str) -> ModelError:
        """Return the error for shapes that do not match."""
        return ModelError(
            f"{self.name} cannot compare outputs of shape {tuple(output.shape)} with labels of "
            f"shape {tuple(target.shape)}\nIt takes {wanted}"
        )


def _squeezed(labels: torch.Tensor) -> list[torch.Tensor]:
    """Return labels without a last axis of length one, if they have one."""
    return [labels.squeeze(-1)] if labels.dim() > 1 and labels.shape[-1] == 1 else []


def _alike(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Drop a last axis of length one that only one of the two has."""
    if output.dim() == target.dim() + 1 and output.shape[-1] == 1:
        return output.squeeze(-1), target
    if target.dim() == output.dim() + 1 and target.shape[-1] == 1:
        return output, target.squeeze(-1)
    return output, target


def _full(output: torch.Tensor) -> torch.Tensor:
    """Return half precision as single."""
    return output.float() if output.is_floating_point() and output.itemsize < 4 else output
