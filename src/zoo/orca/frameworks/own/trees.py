"""Nests of numbers and arrays, summed over all ranks in one operation for each kind of number."""

import itertools
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import WorkerError
from zoo.orca.frameworks.own.plain import Given, as_numpy, is_foreign
from zoo.orca.worker.collective.protocol import Collective

#: What numbers are added up in, by numpy's kind; halves lose too much in each addition.
_SUMS = {"b": np.int64, "i": np.int64, "u": np.uint64}
#: Numbers at the end of each buffer: two that are equal on ranks with equal trees, and the weight.
_EXTRA = 3
#: Up to this, each kind of number is exact, and so is its sum over thousands of ranks.
_MOST_MARK = 1 << 11
#: The lower half of a whole number, which is added up on its own.
_LOW_BITS, _LOW = 32, (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """One number or array of a tree; `wrap` makes of a sum what the leaf was."""

    path: str
    array: NDArray[Any]
    wrap: Callable[[NDArray[Any]], Any]

    @property
    def kind(self) -> np.dtype[Any]:
        """The type of number that it is added up in."""
        dtype = self.array.dtype
        if dtype.kind in _SUMS:
            return np.dtype(_SUMS[dtype.kind])
        return np.result_type(dtype, np.float32)


def summed(tree: Given, collective: Collective, weight: float | None) -> Any:
    """Return the sum of a tree over all ranks, or its mean; called on all ranks.

    Parameters
    ----------
    tree : object
    collective : Collective
    weight : float or None
        What this rank's tree counts in the mean; None for the sum.

    Raises
    ------
    WorkerError
        If the ranks' trees differ, something in them is no number, or no rank has any weight.
    """
    leaves: list[_Leaf] = []
    rebuild = _taken_apart(tree, "", leaves, 0)
    mark = _mark(leaves, weight)
    groups: dict[np.dtype[Any], list[int]] = {np.dtype(np.float32): []} if not leaves else {}
    for index, leaf in enumerate(leaves):
        kind = leaf.kind if weight is None else np.result_type(leaf.kind, np.float32)
        groups.setdefault(kind, []).append(index)
    found: dict[int, Any] = {}
    for kind in sorted(groups, key=lambda one: one.name):
        own = [leaves[index] for index in groups[kind]]
        sums = _sum(own, kind, collective, weight, mark)
        found.update(zip(groups[kind], sums, strict=True))
    return rebuild(iter([found[index] for index in range(len(leaves))]))


def _sum(
    leaves: list[_Leaf],
    kind: np.dtype[Any],
    collective: Collective,
    weight: float | None,
    mark: tuple[int, int],
) -> list[Any]:
    """Return the sums of leaves that are added up in one buffer."""
    count, whole = sum(leaf.array.size for leaf in leaves), kind.kind in "iu"
    start = count * (2 if whole else 1)
    buffer = np.empty(start + _EXTRA, kind)
    for place, leaf in zip(_places(leaves), leaves, strict=True):
        buffer[place] = leaf.array.reshape(-1)
    if whole:
        np.right_shift(buffer[:count], _LOW_BITS, out=buffer[count:start])
        buffer[:count] &= _LOW
    if weight is not None:
        # Without rows a mean is no number, and that times zero is none either.
        buffer[:start] = buffer[:start] * kind.type(weight) if weight else 0
    buffer[start:] = (*mark, 0 if weight is None else weight)
    collective.all_reduce(buffer)
    if tuple(buffer[start : start + 2]) != tuple(collective.size * one for one in mark):
        shown = ", ".join(f"{one.path or 'it'}: {one.array.shape}" for one in leaves[:4])
        raise WorkerError(
            f"the ranks do not all_reduce the same: here {len(leaves)} arrays of {kind}, {shown}\n"
            "Give it the same names, shapes and types on every rank"
        )
    if weight is not None:
        if not buffer[-1]:
            raise WorkerError(
                "all_reduce: the weights of all ranks are 0, and so there is no mean\n"
                "Leave out a step that has no rows on any rank"
            )
        buffer[:start] /= buffer[-1]
    if whole:
        _put_together(leaves, buffer[:count], buffer[count:start])
    return _cut(leaves, buffer)


def _places(leaves: list[_Leaf]) -> list[slice]:
    """Return where each leaf is in the buffer."""
    ends = list(itertools.accumulate(leaf.array.size for leaf in leaves))
    return [slice(start, end) for start, end in itertools.pairwise([0, *ends])]


def _put_together(leaves: list[_Leaf], low: NDArray[Any], high: NDArray[Any]) -> None:
    """Make whole numbers of the sums of their halves, in `low`.

    A sum of 64 bits would wrap around without a word. The halves' sums have room for 2^31 ranks.
    """
    high += low >> _LOW_BITS
    low &= _LOW
    half = np.iinfo(np.int32 if low.dtype.kind == "i" else np.uint32)
    for place, leaf in zip(_places(leaves), leaves, strict=True):
        part = high[place]
        if part.size and (part.min() < half.min or part.max() > half.max):
            raise _too_large(leaf, low.dtype, "float64")
    low |= high << _LOW_BITS


def _too_large(leaf: _Leaf, dtype: np.dtype[Any], wider: str) -> WorkerError:
    return WorkerError(
        f"the sum of {leaf.path or 'it'} is more than {dtype} holds\n"
        f"Cast it before: all_reduce(x.astype({wider!r}))"
    )


def _cut(leaves: list[_Leaf], buffer: NDArray[Any]) -> list[Any]:
    found = []
    for place, leaf in zip(_places(leaves), leaves, strict=True):
        part, dtype = buffer[place].reshape(leaf.array.shape), leaf.array.dtype
        if part.dtype.kind in "fc" or dtype.kind == "b":
            # A mean of whole numbers is none, and neither is a sum of truths.
            keeps = dtype.kind in "fc"
        else:
            keeps = True
            limits = np.iinfo(dtype)
            if part.size and (part.min() < limits.min or part.max() > limits.max):
                raise _too_large(leaf, dtype, part.dtype.name)
        found.append(leaf.wrap(part.astype(dtype if keeps else part.dtype)))
    return found


def _mark(leaves: list[_Leaf], weight: float | None) -> tuple[int, int]:
    """Return two numbers that are equal on ranks whose trees have the same form."""
    form = [(one.path, one.array.shape, one.array.dtype.name) for one in leaves]
    number = zlib.crc32(repr((weight is None, form)).encode())
    return number % _MOST_MARK, number // _MOST_MARK % _MOST_MARK


_Rebuild = Callable[[Iterator[Any]], Any]


def _taken_apart(tree: Given, path: str, leaves: list[_Leaf], level: int) -> _Rebuild:
    """Append a tree's leaves to `leaves`; return what makes the tree again of others."""
    if level > 100:
        raise WorkerError("all_reduce: the tree is nested too deeply\nIt may hold itself")
    if tree is None:
        return lambda found: None
    if isinstance(tree, Mapping) and type(tree).__module__ in ("builtins", "collections"):
        # The order of the ranks' own dicts may differ.
        names = sorted(tree, key=lambda name: (type(name).__name__, str(name)))
        parts = [_taken_apart(tree[n], f"{path}[{n!r}]", leaves, level + 1) for n in names]

        def mapping(found: Iterator[Any]) -> Any:
            made = {name: part(found) for name, part in zip(names, parts, strict=True)}
            return {name: made[name] for name in tree}

        return mapping
    if isinstance(tree, (list, tuple)):
        parts = [_taken_apart(t, f"{path}[{n}]", leaves, level + 1) for n, t in enumerate(tree)]
        make: Any = list if isinstance(tree, list) else tuple
        # A named tuple, as optimizers of optax have them.
        make = getattr(tree, "_make", make)
        return lambda found: make([part(found) for part in parts])
    wrapped = _wrapped(tree)
    if wrapped is None:
        return _by_jax(tree, path, leaves, level)
    array, wrap = wrapped
    if array.dtype.kind not in "biufc":
        raise _no_number(tree, path)
    if isinstance(tree, np.ma.MaskedArray):
        named = f" at {path}" if path else ""
        raise WorkerError(
            f"all_reduce: a masked array{named} would be summed without its mask\n"
            "Fill what is masked: all_reduce(x.filled(0))"
        )
    leaves.append(_Leaf(path=path, array=array, wrap=wrap))
    return next


def _by_jax(tree: Given, path: str, leaves: list[_Leaf], level: int) -> _Rebuild:
    """Take apart what only JAX knows how to, such as Flax's own dicts and classes."""
    jax = sys.modules.get("jax")
    if jax is None:
        raise _no_number(tree, path)
    inner, form = jax.tree_util.tree_flatten(tree)
    if len(inner) == 1 and inner[0] is tree:
        raise _no_number(tree, path)
    part = _taken_apart(inner, path, leaves, level + 1)
    return lambda found: jax.tree_util.tree_unflatten(form, part(found))


def _no_number(tree: Given, path: str) -> WorkerError:
    kind = type(tree)
    named = f" at {path}" if path else ""
    return WorkerError(
        f"all_reduce: {kind.__module__}.{kind.__qualname__}{named} is no number\n"
        "Give it numbers, arrays of numbers, and lists, tuples and dicts of them"
    )


def _wrapped(value: Given) -> tuple[NDArray[Any], Callable[[NDArray[Any]], Any]] | None:
    """Return a leaf as an array, and what makes of another array what the leaf was."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value), (lambda a: a) if isinstance(value, np.ndarray) else lambda a: a[
            ()
        ]
    if isinstance(value, (bool, int, float)):
        return np.asarray(value), lambda array: array.item()
    if not is_foreign(value):
        return None
    module = type(value).__module__.partition(".")[0]
    if module == "torch":
        return as_numpy(value), lambda array: _as_tensor(array, value)
    if module == "tensorflow":
        tensorflow = sys.modules["tensorflow"]
        return as_numpy(value), lambda a: tensorflow.constant(a, _half(value))
    jax = sys.modules["jax"]
    return as_numpy(value), lambda a: jax.numpy.asarray(a, _half(value))


def _half(value: Given) -> Any:
    """Return the type of a leaf that numpy has no type for; None for others.

    A sum of truths, or a mean of whole numbers, is of another type than they are.
    """
    return value.dtype if value.dtype.name == "bfloat16" else None


def _as_tensor(array: NDArray[Any], like: Given) -> Any:
    """Return a tensor of PyTorch's on the device of another one."""
    import torch

    # Not a view: the array may be a part of all others'.
    made = torch.from_numpy(np.array(array, copy=True)).to(like.device)
    return made.to(like.dtype) if like.dtype == torch.bfloat16 else made
