"""The order of one worker's rows in one pass, as a whole or window by window.

A worker whose rows fit into its data budget takes them in one permutation. If there are more,
memory holds neither the rows nor an index of them all, and a permutation would jump about in a file
on disk. So the order has two levels:

* the file is cut into *blocks* of neighbouring rows, and the blocks are permuted;
* a *window* is a run of permuted blocks that fits into the budget, and all its rows are permuted
  among themselves.

A window has `BLOCKS` blocks or more, from all over the file. Its mixture of rows is therefore that
of the whole file, to within the error of such a sample. In a large window, blocks are long enough
to be read in one go.

Each window, and each hand of rows that is dealt from it, has its own random generator, so an order
can start anywhere without computing what came before.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from zoo.orca.wire.features import FeatureSpec

Int64 = NDArray[np.int64]

#: Blocks in a window, at least.
BLOCKS = 1024
#: About the rows of one hand: few enough to be shuffled in the processor's cache.
HAND_ROWS = 1 << 16
#: Rows that are dealt at once.
_DEAL_ROWS = 1 << 20
#: A row's place in the order, as `np.random.Generator.permutation` stores it.
_INDEX_BYTES = 8
#: Bytes counted for a string, whose length only the rows could tell.
_STRING_BYTES = 64
_WIDTHS = {"bool": 1, "int32": 4, "int64": 8, "float32": 4, "string": _STRING_BYTES}

#: The seed, the rank and the number of the pass.
Key = tuple[int, int, int]


def window_rows(spec: FeatureSpec, budget: int) -> int:
    """Return how many rows, with their places in the order, `budget` bytes hold; at least one.

    Parameters
    ----------
    spec : FeatureSpec
        With all lengths of arrays filled in, so that all workers get the same number.
    budget : int
    """
    return max(1, budget // row_bytes(spec))


def row_bytes(spec: FeatureSpec) -> int:
    """Return the bytes of a row and of its place in the order; unknown lengths count nothing."""
    width = _INDEX_BYTES
    for column in (*spec.columns, *spec.masks):
        size = _WIDTHS[column.dtype]
        for length in column.shape:
            size *= length or 0
        width += size
    return width


def permutation(count: int, key: Key) -> Int64:
    """Return all of `count` rows in one uniform permutation."""
    return _generator(key).permutation(count)


def in_sequence(count: int, start: int = 0) -> Iterator[Int64]:
    """Yield the row numbers from `start` on, in sequence."""
    for first in range(start, count, HAND_ROWS):
        yield np.arange(first, min(first + HAND_ROWS, count), dtype=np.int64)


def by_windows(count: int, window: int, key: Key, start: int = 0) -> Iterator[Int64]:
    """Yield row numbers, hand by hand, from place `start` of the two-level order on.

    Parameters
    ----------
    count : int
        Rows of the worker.
    window : int
        Rows that one window may have; fewer than `count`.
    key : tuple of int
    start : int
    """
    block = max(1, window // BLOCKS)
    blocks = _generator(key, 0).permutation(-(-count // block))
    windows = -(-len(blocks) // (window // block))
    # Windows have equal sizes, so that none is a remainder with the rows of only a few blocks.
    edges = np.arange(windows + 1) * len(blocks) // windows
    for number in range(windows):
        # Sorted, so that the file's last block, which may be shorter, comes last.
        chosen = np.sort(blocks[edges[number] : edges[number + 1]])
        rows = len(chosen) * block - max(0, (int(chosen[-1]) + 1) * block - count)
        if start < rows:
            for hand in _shuffled(rows, key, number + 1, start):
                which, offset = np.divmod(hand, block)
                yield chosen[which] * block + offset
        start = max(0, start - rows)


def _shuffled(rows: int, key: Key, window: int, start: int) -> Iterator[Int64]:
    """Yield the numbers from 0 to `rows` in uniform order, hand by hand, from place `start` on.

    Each number is dealt to a random hand, and each hand is shuffled. That is as uniform as one
    shuffle of all. It is several times as fast, because one shuffle would miss the cache with every
    row. Numbers wait in four bytes each.
    """
    hands = min(-(-rows // HAND_ROWS), 1 << 16)
    generator = _generator(key, window)
    dealt = np.empty(rows, np.uint32 if rows < 1 << 32 else np.int64)
    ends = []
    for first in range(0, rows, _DEAL_ROWS):
        size = min(_DEAL_ROWS, rows - first)
        hand = generator.integers(0, hands, size, dtype=np.uint16, endpoint=False)
        dealt[first : first + size] = np.argsort(hand, kind="stable") + first
        ends.append(np.cumsum(np.bincount(hand, minlength=hands)) + first)
    bounds = np.array(ends)
    sizes = np.diff(bounds, axis=1, prepend=np.arange(0, rows, _DEAL_ROWS)[:, None])
    for hand_number, size in enumerate(sizes.sum(axis=0).tolist()):
        if start < size:
            parts = zip(bounds[:, hand_number], sizes[:, hand_number], strict=True)
            held = np.concatenate([dealt[end - n : end] for end, n in parts]).astype(np.int64)
            _generator(key, window, hand_number).shuffle(held)
            yield held[start:]
        start = max(0, start - size)


def _generator(key: Key, *place: int) -> np.random.Generator:
    source = np.random.SeedSequence(list(key), spawn_key=place)
    return np.random.Generator(np.random.PCG64(source))
