"""Shards that have rows: cut between rows, and joined again."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.orca.wire.shards.packed import is_pandas


def rows_of(value: Any) -> int | None:
    """Return the number of rows of nested arrays, or of a frame; None if they have no common one.

    Lists are rows themselves; tuples and dicts hold arrays.
    """
    if isinstance(value, dict):
        found = {rows_of(one) for one in value.values()}
    elif isinstance(value, tuple):
        found = {rows_of(one) for one in value}
    elif isinstance(value, np.ndarray):
        return len(value) if value.ndim else None
    elif isinstance(value, list) or is_pandas(value) or is_pandas(value, "Series"):
        return len(value)
    else:
        return None
    return found.pop() if len(found) == 1 else None


def cut_rows(value: Any, start: int, end: int) -> Any:
    """Return the rows from `start` to `end` of what `rows_of` counts."""
    if isinstance(value, dict):
        return {name: cut_rows(one, start, end) for name, one in value.items()}
    if isinstance(value, tuple):
        return tuple(cut_rows(one, start, end) for one in value)
    if isinstance(value, (np.ndarray, list)):
        return value[start:end]
    return value.iloc[start:end]


def join_rows(pieces: Sequence[Any]) -> Any:
    """Return the pieces that `cut_rows` cut, one below the other."""
    first = pieces[0]
    if isinstance(first, dict):
        return {name: join_rows([piece[name] for piece in pieces]) for name in first}
    if isinstance(first, tuple):
        return tuple(join_rows(list(parts)) for parts in zip(*pieces, strict=True))
    if isinstance(first, np.ndarray):
        return np.concatenate(pieces) if len(pieces) > 1 else first
    if isinstance(first, list):
        return [row for piece in pieces for row in piece]
    import pandas as pd

    filled = [piece for piece in pieces if len(piece)]
    # An empty frame without types of its own would turn the others' columns into objects.
    return pd.concat(filled) if len(filled) > 1 else filled[0] if filled else first
