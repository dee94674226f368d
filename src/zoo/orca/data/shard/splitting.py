"""Arrays that are here, divided by their rows: what `XShards.partition` makes shards of."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.orca.errors import InvalidInputError
from zoo.orca.wire.shards.packed import is_pandas


def split_rows(data: Any, shards: int) -> list[Any]:
    """Return `shards` parts of nested arrays; the first ones have one row more.

    Raises
    ------
    InvalidInputError
        If there is something else than arrays, they differ in rows, or have too few.
    """
    leaves = list(_leaves(data, "data"))
    rows = {len(leaf) for _, leaf in leaves}
    if not leaves:
        raise InvalidInputError(
            f"data has no array in it: {data!r}\nPass an array, or a list, tuple or dict of such"
        )
    if len(rows) > 1:
        told = ", ".join(f"{name} has {len(leaf):,} rows" for name, leaf in leaves)
        raise InvalidInputError(
            f"the arrays differ in their rows: {told}\nAll must have the same number"
        )
    total = rows.pop()
    if total < shards:
        raise InvalidInputError(
            f"{total:,} rows cannot make {shards:,} shards\n"
            f"Write num_shards={max(total, 1)}, or less"
        )
    each, more = divmod(total, shards)
    edges = [place * each + min(place, more) for place in range(shards + 1)]
    return [_cut(data, low, high) for low, high in zip(edges, edges[1:], strict=False)]


def _leaves(data: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, f"{name}[{key!r}]")
    elif isinstance(data, (list, tuple)):
        for place, value in enumerate(data):
            yield from _leaves(value, f"{name}[{place}]")
    elif _is_array(data):
        yield name, data
    else:
        raise InvalidInputError(
            f"{name} is a {type(data).__name__}, not an array with rows\n"
            "Pass numpy arrays, or a list, tuple or dict of such: np.array(...)"
        )


def _is_array(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return is_pandas(value) or is_pandas(value, "Series")


def _cut(data: Any, low: int, high: int) -> Any:
    if isinstance(data, dict):
        return {key: _cut(value, low, high) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(_cut(value, low, high) for value in data))
    if isinstance(data, (list, tuple)):
        return type(data)(_cut(value, low, high) for value in data)
    if isinstance(data, np.ndarray):
        return data[low:high]
    return data.iloc[low:high].reset_index(drop=True)
