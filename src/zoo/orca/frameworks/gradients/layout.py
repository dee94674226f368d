"""The layout of gradients: in the buffers of the sums, and in what ranks send."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.worker.collective.bfloat16 import round_to, widened
from zoo.orca.worker.collective.protocol import Buffer

Array = NDArray[Any]
#: TensorFlow uses numpy's memory, and parts of it, without a copy if they begin at a multiple of
#: this.
ALIGN = 64
INDEX = np.dtype(np.int64)
_HALF = np.dtype(np.uint16)
_PROBE = [object()]
_HELD_BY_LIST = sys.getrefcount(_PROBE[0])
#: How many layouts are cached; each is for different row counts.
REMEMBERED = 64


@dataclass(frozen=True, kw_only=True)
class GradientSpec:
    """One gradient: its variable's shape and dtype, and whether it comes as rows."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    sparse: bool

    @cached_property
    def wire(self) -> np.dtype[Any]:
        """The dtype of the sum: half precisions are sent as float32."""
        return np.dtype(np.float64 if self.dtype == np.float64 else np.float32)

    @cached_property
    def size(self) -> int:
        """Numbers in the whole variable."""
        return prod(self.shape)

    @cached_property
    def row(self) -> int:
        """Numbers in one row."""
        return prod(self.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a sparse gradient and its row number."""
        return self.row * self.wire.itemsize + INDEX.itemsize

    @property
    def dense_bytes(self) -> int:
        """Bytes of a sparse gradient in the flat buffer, with marks of the rows touched."""
        return (self.size + self.shape[0]) * self.wire.itemsize


def unit_of(dtype: np.dtype[Any]) -> int:
    """Return the numbers between two aligned positions."""
    return ALIGN // dtype.itemsize


def padded(count: int, dtype: np.dtype[Any]) -> int:
    """Return `count` rounded up to the next aligned position."""
    unit = unit_of(dtype)
    return -(-count // unit) * unit


@dataclass(kw_only=True)
class Region:
    """The buffer of one dtype: its layout and its memory.

    The receiver of a buffer may still hold it, so a buffer is reused only when it is unreferenced.

    Attributes
    ----------
    dense, tables : dict of int to int
        Where each gradient begins, by its number. Tables are followed by marks of the rows touched.
    length : int
        Numbers that are summed whole; rows follow.
    """

    dtype: np.dtype[Any]
    dense: dict[int, int] = field(default_factory=dict)
    tables: dict[int, int] = field(default_factory=dict)
    length: int = 0
    dense_length: int = 0
    _capacity: int = 0
    _buffers: list[Array] = field(default_factory=list)

    def place(self, count: int) -> int:
        """Reserve space for the given count of numbers; return its position."""
        start = self.length
        self.length += padded(count, self.dtype)
        return start

    def buffer(self, count: int) -> Array:
        """Return an aligned, unreferenced buffer; gaps in the summed part are zeros."""
        if count > self._capacity:
            self._capacity = count
            self._buffers.clear()
        for index in range(len(self._buffers)):
            # Views keep a reference to the array that owns the memory, so they count.
            if sys.getrefcount(self._buffers[index]) == _HELD_BY_LIST:
                return self._aligned(self._buffers[index])
        self._buffers.append(np.zeros(self._capacity * self.dtype.itemsize + ALIGN, np.uint8))
        return self._aligned(self._buffers[-1])

    def _aligned(self, raw: Array) -> Array:
        start = -raw.ctypes.data % ALIGN
        return raw[start : start + self._capacity * self.dtype.itemsize].view(self.dtype)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Where a rank's rows lie in its parcel, for given row counts of the gradients."""

    size: int
    #: (dtype, numbers, first byte) of each block. The first block has the row numbers.
    blocks: list[tuple[np.dtype[Any], int, int]]
    #: For each gradient: its row numbers in the first block, the block of its rows, and where.
    rows: list[tuple[slice, int, slice]]


class Parcel:
    """What a rank sends if gradients are sent as rows.

    ::

        row counts | flat buffers that travel along | row numbers | rows, by dtype

    Row counts seldom change from step to step, so positions are cached, not computed. The model
    fills the processor's caches, and so Python's own work takes longer than it seems.

    Parameters
    ----------
    specs : sequence of GradientSpec
        The gradients that are sent as rows.
    riders : sequence of (dtype, int)
        The flat buffers that travel along, and their lengths.
    rounded : bool
        Whether rows of float32 are sent as bfloat16; riders are few, and stay as they are.

    Attributes
    ----------
    data : memoryview
        What was packed last, to be sent.
    """

    def __init__(
        self,
        specs: Sequence[GradientSpec],
        riders: Sequence[tuple[np.dtype[Any], int]],
        *,
        rounded: bool = False,
    ) -> None:
        self._specs = specs
        self._given_riders = riders
        self._joint: Parcel | None = None
        self._sent_as = {np.dtype(np.float32): _HALF} if rounded else {}
        self._dtypes = list(dict.fromkeys(spec.wire for spec in specs))
        self._riders: list[tuple[np.dtype[Any], int, int]] = []
        self._begin = len(specs) * INDEX.itemsize
        for dtype, length in riders:
            self._riders.append((dtype, length, self._begin))
            self._begin += length * dtype.itemsize
        self._memory = np.zeros(self._begin, np.uint8)
        self.data = self._memory.data
        self._parts = lru_cache(REMEMBERED)(self._place)

    def pack(self, rows: Sequence[tuple[Any, Array]], weight: float) -> list[Array]:
        """Write rows times `weight`, and their numbers; return where the riders go.

        Parameters
        ----------
        rows : sequence of (values, numbers)
            Values may be None if there are no rows.
        weight : float
        """
        counts = np.array([len(numbers) for _, numbers in rows], INDEX).tobytes()
        parts = self._parts(counts)
        if parts.size > len(self._memory):
            self._memory = np.zeros(parts.size, np.uint8)
        self.data = self._memory[: parts.size].data
        self.data[: len(counts)] = counts
        all_numbers, *blocks = _cut(self.data, parts.blocks)
        for (values, numbers), (where, block, place) in zip(rows, parts.rows, strict=True):
            all_numbers[where] = numbers
            if values is None:
                continue
            part = blocks[block][place]
            if part.dtype == _HALF:
                weighed = np.empty(len(part), np.float32)
                multiply(values.reshape(-1), weight, weighed)
                round_to(part, weighed)
            else:
                multiply(values.reshape(-1), weight, part)
        return _cut(self.data, self._riders)

    def unpack(self, data: Buffer) -> tuple[list[Array], list[tuple[Array, Array]]]:
        """Return the riders, and each gradient's values and numbers, from a rank's parcel."""
        view = memoryview(data)
        parts = self._parts(bytes(view[: len(self._specs) * INDEX.itemsize]))
        numbers, *blocks = _cut(data, parts.blocks)
        blocks = [widened(block) if block.dtype == _HALF else block for block in blocks]
        rows = [(blocks[block][place], numbers[where]) for where, block, place in parts.rows]
        return _cut(data, self._riders), rows

    def merged(self, parcels: Sequence[Buffer]) -> Buffer:
        """Return the parcel of several ranks together: each row once, and riders, summed."""
        if self._joint is None:
            self._joint = Parcel(self._specs, self._given_riders, rounded=bool(self._sent_as))
        riders, rows = zip(*map(self.unpack, parcels), strict=True)
        # Overflow and NaN are the training's concern.
        with np.errstate(all="ignore"):
            sums = [
                summed_rows(pairs, spec.row)
                for pairs, spec in zip(zip(*rows, strict=True), self._specs, strict=True)
            ]
            for place, *parts in zip(self._joint.pack(sums, 1.0), *riders, strict=True):
                np.copyto(place, parts[0])
                for part in parts[1:]:
                    np.add(place, part, out=place)
        return self._joint.data

    def _place(self, counts: bytes) -> _Parts:
        lengths = dict.fromkeys(self._dtypes, 0)
        rows, first = [], 0
        each = np.frombuffer(counts, INDEX).tolist()
        for spec, count in zip(self._specs, each, strict=True):
            start, end = lengths[spec.wire], lengths[spec.wire] + count * spec.row
            block = self._dtypes.index(spec.wire)
            rows.append((slice(first, first + count), block, slice(start, end)))
            lengths[spec.wire], first = end, first + count
        at, blocks = self._begin, []
        for wire, length in [(INDEX, first), *lengths.items()]:
            dtype = self._sent_as.get(wire, wire)
            blocks.append((dtype, length, at))
            at += length * dtype.itemsize
        return _Parts(size=at, blocks=blocks, rows=rows)


def summed_rows(pairs: Sequence[tuple[Array, Array]], row: int) -> tuple[Array, Array]:
    """Return each row once, as the sum of all of its number in their order, and the numbers.

    Parameters
    ----------
    pairs : sequence of (values, numbers)
        Of several ranks, in rank order; values one after another.
    row : int
        How many values a row has.
    """
    values = np.concatenate([values.reshape(-1, row) for values, _ in pairs])
    numbers = np.concatenate([numbers for _, numbers in pairs])
    if not len(numbers):
        return values, numbers
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return np.add.reduceat(values[order], starts, axis=0), ordered[starts]


def multiply(values: Array, weight: float, out: Array) -> None:
    """Write values times a weight of the same type, so that numpy converts nothing."""
    np.multiply(values, out.dtype.type(weight), out=out)


def _cut(data: Buffer | Array, blocks: Sequence[tuple[np.dtype[Any], int, int]]) -> list[Array]:
    """Return arrays from bytes; they need not be aligned."""
    return [np.frombuffer(data, dtype, length, at) for dtype, length, at in blocks]
