"""Losses that add up over workers: the weight of one rank's value in the global batch's.

::

    the user's loss                       value of a rank         weight of its gradient
    a mean over rows                      that mean               its share of the rows
    a sum                                 that sum                1
    any, and rows have weights            mean of weight x loss   its share of the rows
    a mean over some rows (class          the sum                 1; divided at the end
    weights, labels to be ignored)                                by all ranks' divisor
"""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeGuard, cast

import torch
from torch.nn import functional as F

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.wire.features import quoted

#: The rows' weights, if any.
Weight: TypeAlias = torch.Tensor | None
#: A scalar, and its remaining divisor if only all ranks together know it.
Value: TypeAlias = tuple[torch.Tensor, torch.Tensor | None]

#: Computes a value from outputs and labels.
Compares: TypeAlias = Callable[[Structure, Structure], torch.Tensor]


class LossFunction(Protocol):
    """The user's loss: a function, or a module with some of these members."""

    reduction: Any
    weight: torch.Tensor | None
    ignore_index: int

    def __call__(self, output: Structure, target: Structure) -> torch.Tensor:
        """Return the loss of outputs and labels."""


_ELEMENTWISE = (
    torch.nn.MSELoss,
    torch.nn.L1Loss,
    torch.nn.SmoothL1Loss,
    torch.nn.HuberLoss,
    torch.nn.BCELoss,
    torch.nn.BCEWithLogitsLoss,
)
_ELEMENTWISE_FUNCTIONS = (
    F.mse_loss,
    F.l1_loss,
    F.smooth_l1_loss,
    F.huber_loss,
    F.binary_cross_entropy,
    F.binary_cross_entropy_with_logits,
)
_CLASSES = (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss)
#: Functions of a loss over classes become its module, which tells its divisor.
_CLASS_FUNCTIONS: dict[Any, type] = {
    F.cross_entropy: torch.nn.CrossEntropyLoss,
    F.nll_loss: torch.nn.NLLLoss,
}


def known_loss(function: LossFunction) -> LossFunction:
    """Return the loss in the form that tells most about it."""
    kind = _CLASS_FUNCTIONS.get(function) if inspect.isroutine(function) else None
    return function if kind is None else kind()


def is_elementwise(function: object) -> bool:
    """Whether a loss compares its arguments element by element, and broadcasts silently."""
    return isinstance(function, _ELEMENTWISE) or function in _ELEMENTWISE_FUNCTIONS


def takes_chances(function: object) -> bool:
    """Whether a loss takes probabilities, from 0 to 1, of one of two classes."""
    kinds = (torch.nn.BCELoss, torch.nn.BCEWithLogitsLoss)
    functions = (F.binary_cross_entropy, F.binary_cross_entropy_with_logits)
    return isinstance(function, kinds) or function in functions


def is_of_classes(function: object) -> TypeGuard[LossFunction]:
    """Whether a loss takes class numbers."""
    return isinstance(function, _CLASSES)


class Spread:
    """A loss called with outputs and labels, ``loss(first, second, label)``, as in Orca.

    Attributes
    ----------
    reduction : str
        The loss's own reduction, if it has one.
    """

    def __init__(self, function: Any) -> None:
        self._function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, output: Structure, target: Structure) -> torch.Tensor:
        """Return the loss."""
        return self._function(*_as_list(output), *_as_list(target))

    def __getattr__(self, name: str) -> Any:
        if name == "reduction":
            return self._function.reduction
        raise AttributeError(name)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "reduction":
            self.__dict__["_function"] = copy.copy(self._function)
            self._function.reduction = value
        else:
            super().__setattr__(name, value)


def _as_list(value: Structure) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


class Loss(Protocol):
    """A loss of a batch, and its weight."""

    def __call__(self, output: Structure, target: Structure, weight: Weight) -> Value:
        """Return the value, a scalar, and its remaining divisor, or None."""

    def seed(self, rows: int, of: int) -> float:
        """Return the weight of the value's gradient in that of the global batch."""

    def count(self, rows: int, of: int) -> float:
        """Return the value's weight in an epoch's mean."""


class MeanLoss:
    """A mean over the batch's rows."""

    def __init__(self, function: Compares) -> None:
        self._function = function

    def __call__(self, output: Structure, target: Structure, weight: Weight) -> Value:
        """Return the mean."""
        value = self._function(output, target)
        if value.dim():
            raise ModelError(
                f"the loss returned values of shape {tuple(value.shape)}, not one number\nGive it "
                "a reduction, 'mean' or 'sum'"
            )
        return value, None

    def seed(self, rows: int, of: int) -> float:
        """Return the share of the rows."""
        return rows / of

    def count(self, rows: int, of: int) -> float:
        """Return the rows."""
        return rows


class WeightedLoss(MeanLoss):
    """The mean over rows of weight times loss: weights do not change the divisor."""

    def __init__(self, function: LossFunction) -> None:
        super().__init__(_by_rows(function))

    def __call__(self, output: Structure, target: Structure, weight: Weight) -> Value:
        """Return the mean."""
        weights = cast(torch.Tensor, weight)
        return (_of_rows(self._function(output, target), weights) * weights).mean(), None


class SumLoss:
    """A sum over the batch's rows, weighted if they have weights."""

    def __init__(self, function: LossFunction, weighted: bool) -> None:
        self._function = _by_rows(function, sums=True) if weighted else function

    def __call__(self, output: Structure, target: Structure, weight: Weight) -> Value:
        """Return the sum."""
        value = self._function(output, target)
        if weight is not None:
            value = (value.reshape(len(weight), -1).sum(1) * weight).sum()
        return value, None

    def seed(self, rows: int, of: int) -> float:
        """Return one: sums of ranks add up."""
        return 1.0

    def count(self, rows: int, of: int) -> float:
        """Return the step's rows: an epoch's loss is the mean of steps' sums, by their rows."""
        return of


class SharedLoss:
    """A mean whose divisor is not the row count, so only all ranks together know it."""

    def __init__(self, function: LossFunction) -> None:
        self._sum = copy.copy(function)
        self._sum.reduction = "sum"
        self._weight, self._ignored = function.weight, function.ignore_index

    def __call__(self, output: Structure, target: Structure, weight: Weight) -> Value:
        """Return the sum, and the mean's divisor."""
        counted = target != self._ignored
        if self._weight is None:
            divisor = counted.sum()
        else:
            classes = torch.where(counted, target, 0)
            divisor = (self._weight.to(target.device)[classes] * counted).sum()
        return self._sum(output, target), divisor

    def seed(self, rows: int, of: int) -> float:
        """Return one: sums of ranks add up."""
        return 1.0

    def count(self, rows: int, of: int) -> float:
        """Return one: sums of steps add up."""
        return 1.0


class LossOfKey:
    """A loss of one entry of outputs and labels that are dicts.

    Parameters
    ----------
    loss : Loss
    key : str
    """

    def __init__(self, loss: Loss, key: str) -> None:
        self._loss, self._key = loss, key
        self.seed, self.count = loss.seed, loss.count

    def __call__(self, output: Structure, target: Structure, weight: Weight) -> Value:
        """Return the loss of the entry."""
        return self._loss(output[self._key], target[self._key], weight)


def common_key(function: object, output: Structure, target: Structure) -> str | None:
    """Return the key of the one label by name, if a loss of one output can be of that entry."""
    is_named = isinstance(target, Mapping) and isinstance(output, Mapping)
    if (
        not is_named
        or len(target) != 1
        or not (is_elementwise(function) or is_of_classes(function))
    ):
        return None
    (key,) = target
    return str(key) if key in output else None


def loss_of(function: LossFunction, *, weighted: bool, shared: bool) -> Loss:
    """Return how a user's loss adds up.

    Parameters
    ----------
    function : callable
        ``function(output, target)``.
    weighted : bool
        Whether rows have weights.
    shared : bool
        Whether a loss over classes must not assume that all labels count the same.
    """
    if getattr(function, "reduction", "mean") == "sum":
        return SumLoss(function, weighted)
    if weighted:
        return WeightedLoss(function)
    return SharedLoss(function) if shared else MeanLoss(function)


def _by_rows(function: LossFunction, *, sums: bool = False) -> Compares:
    """Return the loss without its reduction."""
    if hasattr(function, "reduction"):
        single = copy.copy(function)
        single.reduction = "none"
        return single
    try:
        takes = "reduction" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        takes = False
    if takes:
        loose: Any = function
        return lambda output, target: loose(output, target, reduction="none")
    return function


def _of_rows(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return one value per row."""
    if values.dim() == 0 or len(values) != len(weight):
        raise ModelError(
            f"sample_weight_col needs a loss with a value for each row, and this one returned the "
            f"shape {tuple(values.shape)} for {len(weight)} rows\nUse a loss of torch.nn, or a "
            "function that returns values of shape (rows, ...)"
        )
    return values if values.dim() == 1 else values.flatten(1).mean(1)


def check_one_label(function: object, target: Structure, columns: Sequence[str]) -> None:
    """Refuse no label, several, or a dict, for a loss that compares one output with one label.

    Raises
    ------
    ModelError
        The message has the remedy.
    """
    if isinstance(target, torch.Tensor):
        return
    name = getattr(function, "__name__", type(function).__name__)
    given = f"there are {len(columns)}: {list(columns)}"
    if isinstance(target, dict):
        given = f"label_cols is a dict, {dict(zip(target, columns, strict=True))}"
    way = f"Give one column, label_cols={list(columns[:1])}, or a loss that takes these"
    if not columns:
        given, way = (
            "there are no label_cols",
            "Name the column of the label: fit(..., label_cols=['label'])",
        )
    raise ModelError(f"{name} compares an output with one label, and {given}\n{way}")


def check_shapes(
    function: object,
    output: torch.Tensor,
    target: torch.Tensor,
    column: str,
    *,
    by_hooks: bool = False,
) -> None:
    """Refuse, from a sample, an output and labels that a loss would broadcast or not understand.

    The user's hooks may give both other shapes. Then only broadcasting is refused.

    Raises
    ------
    ModelError
        The message has the remedy.
    """
    there, here = tuple(output.shape[1:]), tuple(target.shape[1:])
    if not by_hooks and (not output.dim() or len(output) != len(target)):
        name = getattr(function, "__name__", type(function).__name__)
        raise ModelError(
            f"the model's output is of shape {tuple(output.shape)} for {len(target)} rows, and "
            f"{name} compares each row's with its label {column!r}\n"
            "Let forward return a value for each row, (batch, ...); reshape(len(x), ...) keeps "
            "that axis"
        )
    if is_elementwise(function) and there != here:
        name = getattr(function, "__name__", type(function).__name__)
        way = f"Make column {column!r} an array of that length, or change the model's last layer"
        if there == (*here, 1):
            way = (
                "Let forward return output.squeeze(-1), or make the label an array of one number: "
                f"df.withColumn({column!r}, F.array({quoted(column)!r}))"
            )
        raise ModelError(
            f"the model's output is of shape (batch{_listed(there)}) and the label {column!r} of "
            f"shape (batch{_listed(here)}), which {name} would broadcast against each other\n{way}"
        )
    fits = by_hooks or numbers_classes(output, target) or there == here
    if is_of_classes(function) and not fits:
        way = "Let the label be one number, or as many probabilities as there are outputs"
        if here == (1,):
            way = (
                f"Take it out of its array: df.withColumn({column!r}, F.col({quoted(column)!r})[0])"
            )
        elif there[:-1] == here:
            way = "Classes are its second axis: let forward return output.movedim(-1, 1)"
        raise ModelError(
            f"the model's output is of shape (batch{_listed(there)}) and the label {column!r} of "
            f"shape (batch{_listed(here)}): {type(function).__name__} takes the number of a class "
            f"for each row\n{way}"
        )


def numbers_classes(output: torch.Tensor, target: torch.Tensor) -> bool:
    """Whether labels are the class numbers for the scores in the output."""
    return bool(
        output.dim() == target.dim() + 1
        and output.shape[0] == target.shape[0]
        and output.shape[2:] == target.shape[1:]
    )


def _listed(shape: tuple[int, ...]) -> str:
    return "".join(f", {length}" for length in shape)
