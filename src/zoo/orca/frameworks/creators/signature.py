"""What batches are like: their structure, and dtype and row shape of each array.

All ranks' batches must be alike. A rank that has none makes rows of zeros from the others'
signature, because it takes part in every step.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from zoo.orca.errors import DataError
from zoo.orca.frameworks.common.structures import Structure

#: A nest of dicts, and of lists of the kind of container and its members; at its leaves, dtype and
#: row shape.
Signature: TypeAlias = dict[str, Any] | None
_LEAF = "leaf"


def leaves(value: Structure, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the arrays of a nest of dicts, lists and tuples with their paths."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from leaves(one, f"{path}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for number, one in enumerate(value):
            yield from leaves(one, f"{path}[{number}]")
    elif value is not None:
        yield path, value


def mapped(value: Structure, change: Callable[..., Structure]) -> Any:
    """Return the same nest with other arrays; containers become dicts, lists and tuples."""
    if isinstance(value, Mapping):
        return {key: mapped(one, change) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(mapped(one, change) for one in value)
    if isinstance(value, list):
        return [mapped(one, change) for one in value]
    return None if value is None else change(value)


def rows_of(parts: Mapping[str, Any], argument: str) -> int:
    """Return the rows of a batch's parts, by name.

    Raises
    ------
    DataError
        If they have different numbers of rows, or no arrays at all.
    """
    # In every step: names are for the errors.
    lengths: set[int] = set()
    if all(_adds_rows(part, lengths) for part in parts.values()) and len(lengths) == 1:
        return lengths.pop()
    return _checked_rows(parts, argument)


def _adds_rows(value: Structure, lengths: set[int]) -> bool:
    """Add the numbers of rows of a nest's arrays; return False where something has none."""
    if isinstance(value, (tuple, list)):
        return all([_adds_rows(one, lengths) for one in value])
    if isinstance(value, dict):
        return all([_adds_rows(one, lengths) for one in value.values()])
    shape = getattr(value, "shape", None)
    if shape:
        lengths.add(int(shape[0]))
    return bool(shape) or value is None


def _checked_rows(parts: Mapping[str, Any], argument: str) -> int:
    rows = -1
    for name, part in parts.items():
        for path, array in leaves(part, name):
            shape = getattr(array, "shape", None)
            if not shape:
                kind = "a single number" if shape is not None else f"a {type(array).__qualname__}"
                raise DataError(
                    f"a batch of {argument} has {kind} as {path}, and no array of rows\n"
                    "Let the loader return batches, arrays of (rows, ...)"
                )
            if rows < 0:
                rows, first = int(shape[0]), path
            elif int(shape[0]) != rows:
                raise DataError(
                    f"a batch of {argument} has {rows} rows in {first}, and {int(shape[0])} in "
                    f"{path}\nLet every array of a batch have the same number of rows"
                )
    if rows < 0:
        raise DataError(f"a batch of {argument} has no arrays\nLet it be (x, y)")
    return rows


def signature(value: Structure) -> Signature:
    """Return what a nest of arrays is like, as JSON values."""
    if isinstance(value, Mapping):
        return {"dict": [[key, signature(one)] for key, one in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [signature(one) for one in value]}
    if value is None:
        return None
    dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
    return {_LEAF: [dtype, [int(length) for length in value.shape[1:]]]}


def zeros(told: Signature, make: Callable[..., Structure]) -> Any:
    """Return the nest that a signature tells of; `make` takes a shape and a dtype's name."""
    if told is None:
        return None
    kind, value = next(iter(told.items()))
    if kind == "dict":
        return {key: zeros(one, make) for key, one in value}
    if kind == _LEAF:
        return make((1, *value[1]), value[0])
    members = [zeros(one, make) for one in value]
    return members if kind == "list" else tuple(members)


def described(told: Signature) -> str:
    """Return a signature in words."""
    if told is None:
        return "None"
    kind, value = next(iter(told.items()))
    if kind == "dict":
        return "{" + ", ".join(f"{key!r}: {described(one)}" for key, one in value) + "}"
    if kind == _LEAF:
        lengths = "".join(f", {length}" for length in value[1])
        return f"{value[0]} (rows{lengths})"
    listed = ", ".join(described(one) for one in value)
    return f"[{listed}]" if kind == "list" else f"({listed})"


def common(told: Sequence[Signature], argument: str) -> Signature:
    """Return what all ranks' first batches are like; a rank without one has None.

    Row shapes may differ: batches of texts are as long as their longest.

    Raises
    ------
    DataError
        If they differ in structure or dtype. The same on every rank.
    """
    known = [(rank, one) for rank, one in enumerate(told) if one is not None]
    first_rank, first = known[0]
    for rank, one in known[1:]:
        if json.dumps(_without_lengths(one)) != json.dumps(_without_lengths(first)):
            raise DataError(
                f"{argument} makes other batches on rank {rank} than on rank {first_rank}: "
                f"{described(one)}, and {described(first)}\n"
                "Let all workers' batches have the same arrays, of the same dtypes and axes"
            )
    return first


def _without_lengths(told: Signature) -> Signature:
    if told is None:
        return None
    kind, value = next(iter(told.items()))
    if kind == "dict":
        return {kind: [[key, _without_lengths(one)] for key, one in value]}
    if kind == _LEAF:
        return {kind: [value[0], len(value[1])]}
    return {kind: [_without_lengths(one) for one in value]}
