"""One fused sum of gradients over all workers, in numpy: what travels, and how it comes out.

::

    gradients of one rank        travel as                           come out as
    dense                        one flat buffer, summed             dense
    sparse                       rows, one after another by rank     sparse, all ranks' rows
    sparse, of many rows         part of the flat buffer             sparse, the rows touched

Each rank weighs its gradients by its share of the step's rows, so the sum is the gradient of the
mean over the global batch. Kinds never change on the way: optimizers treat sparse gradients
differently from dense ones. Every sum is made in the order of ranks or by the collective, so all
ranks end with the same bits.

Results of one dtype lie in one buffer, because a framework takes one array sooner than many::

    dense | padding | dense | ... | whole tables, while they are summed | rows | padding | rows ...
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.worker.collective import Collective

Array = NDArray[Any]
#: Gradients as a framework hands them over: values, and for a sparse one the numbers of its rows.
Given = list[tuple[Any, Any]]
#: Below so many bytes to receive, dense gradients ride along with the sparse ones' rows.
_RIDE_BYTES = 128 << 10
#: TensorFlow takes numpy's memory, and parts of it, without a copy where they begin at this.
ALIGN = 64
_INDEX = np.dtype(np.int64)
_PROBE = [object()]
_HELD_BY_LIST = sys.getrefcount(_PROBE[0])


@dataclass(frozen=True)
class GradientSpec:
    """One gradient: its variable's shape and dtype, and whether it comes as rows."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    sparse: bool

    @property
    def wire(self) -> np.dtype[Any]:
        """The dtype in which it is summed: half precisions travel as float32."""
        return np.dtype(np.float64 if self.dtype == np.float64 else np.float32)

    @property
    def row(self) -> int:
        """Numbers of one row."""
        return prod(self.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a sparse gradient and of its number."""
        return self.row * self.wire.itemsize + _INDEX.itemsize

    @property
    def dense_bytes(self) -> int:
        """Bytes of a sparse gradient in the flat buffer, with marks of the rows touched."""
        return (prod(self.shape) + self.shape[0]) * self.wire.itemsize


def unit_of(dtype: np.dtype[Any]) -> int:
    """Return the numbers between two places where an array may begin."""
    return ALIGN // dtype.itemsize


def _padded(count: int, dtype: np.dtype[Any]) -> int:
    unit = unit_of(dtype)
    return -(-count // unit) * unit


@dataclass
class _Region:
    """The buffer of one dtype: where things lie in it, and memory for it.

    Who was given a buffer may still hold it, so it is used again only when nobody does.

    Attributes
    ----------
    dense, tables : dict of int to int
        Where a gradient begins, by its number; tables are followed by marks of the rows touched.
    length : int
        Numbers that are summed as a whole; rows follow.
    """

    dtype: np.dtype[Any]
    dense: dict[int, int] = field(default_factory=dict)
    tables: dict[int, int] = field(default_factory=dict)
    length: int = 0
    dense_length: int = 0
    _capacity: int = 0
    _buffers: list[Array] = field(default_factory=list)

    def place(self, count: int) -> int:
        """Make room for so many numbers; return where."""
        start = self.length
        self.length += _padded(count, self.dtype)
        return start

    def buffer(self, count: int) -> Array:
        """Return an aligned buffer that nobody holds; gaps of what is summed are zeros."""
        if count > self._capacity:
            self._capacity = count
            self._buffers.clear()
        for index in range(len(self._buffers)):
            # Views keep the array that owns the memory, so they count.
            if sys.getrefcount(self._buffers[index]) == _HELD_BY_LIST:
                return self._aligned(self._buffers[index])
        self._buffers.append(np.zeros(self._capacity * self.dtype.itemsize + ALIGN, np.uint8))
        return self._aligned(self._buffers[-1])

    def _aligned(self, raw: Array) -> Array:
        start = -raw.ctypes.data % ALIGN
        return raw[start : start + self._capacity * self.dtype.itemsize].view(self.dtype)


class FusedSum:
    """Sums one fixed list of gradients over all ranks; called on all ranks in the same order.

    Parameters
    ----------
    collective : Collective
    specs : sequence of GradientSpec
    keep_rows : bool
        Whether sparse gradients must always travel as rows: clipping sees every one of them.

    Attributes
    ----------
    dtypes : list of dtype
        One buffer each.
    """

    def __init__(
        self, collective: Collective, specs: Sequence[GradientSpec], *, keep_rows: bool
    ) -> None:
        self._collective = collective
        self._specs = specs
        self._keep_rows = keep_rows
        self.dtypes = list(dict.fromkeys(spec.wire for spec in specs))
        self._sparse = [k for k, spec in enumerate(specs) if spec.sparse]
        self._as_rows: list[int] = []
        self._regions: dict[np.dtype[Any], _Region] = {}
        self._message = np.empty(0, np.uint8)

    def __call__(self, rows: int, of: int, *arrays: Array) -> list[Array]:
        """Return the sums: an array for a dense gradient, values and indices for a sparse one.

        Parameters
        ----------
        rows, of : int
            Of the step's `of` rows, `rows` are this rank's. Without any, its gradients are of a
            row that does not count: they may be anything, NaN too, and stay here.
        *arrays : array
            As returned.
        """
        *flats, integers = self.packed(rows, of, *arrays)
        buffers = dict(zip(self.dtypes, (flat.reshape(-1) for flat in flats), strict=True))
        units, rest = np.split(integers, [len(self._specs) + len(self.dtypes)])
        totals, indices = np.split(rest, [len(self._sparse)])
        parts = np.split(indices, np.cumsum(totals))[: len(totals)]
        numbers = dict(zip(self._sparse, parts, strict=True))
        starts = self._starts(units)
        results: list[Array] = []
        for k, spec in enumerate(self._specs):
            count = len(numbers[k]) * spec.row if spec.sparse else prod(spec.shape)
            shape = (-1, *spec.shape[1:]) if spec.sparse else spec.shape
            part = buffers[spec.wire][starts[k] : starts[k] + count]
            if spec.sparse and not count:
                shape = (0, *spec.shape[1:])
            results.append(part.reshape(shape).astype(spec.dtype, copy=False))
            if spec.sparse:
                results.append(numbers[k])
        return results

    def packed(self, rows: int, of: int, *arrays: Array) -> list[Array]:
        """Return the sums as few arrays, for frameworks to cut up.

        Parameters
        ----------
        rows, of : int
        *arrays : array
            As of a call.

        Returns
        -------
        list of array
            For each of `dtypes` a buffer of shape (units, numbers of a unit), and one array of
            int64: the units of each piece of each buffer (see `pieces`), the rows of each sparse
            gradient, and their numbers.
        """
        given = list(self._pairs(arrays))
        if rows == 0:
            given = [(None, None if indices is None else indices[:0]) for _, indices in given]
        if not self._regions:
            self._agree(given)
        buffers = {dtype: r.buffer(r.length) for dtype, r in self._regions.items()}
        for region in self._regions.values():
            self._put(region, buffers[region.dtype], rows / of, given)
        found = self._exchange(buffers, given, rows / of)
        return self._results(buffers, found)

    def pieces(self, dtype: np.dtype[Any]) -> list[int | None]:
        """Return which gradients' values lie in a buffer, in order; None: nothing of use."""
        mine = [k for k, spec in enumerate(self._specs) if spec.wire == dtype]
        dense = [k for k in mine if not self._specs[k].sparse]
        return [*dense, None, *(k for k in mine if self._specs[k].sparse)]

    def _starts(self, units: Array) -> dict[int, int]:
        """Return where each gradient's values begin in its buffer."""
        starts, rest = {}, units.tolist()
        for dtype in self.dtypes:
            at, pieces = 0, self.pieces(dtype)
            for k, count in zip(pieces, rest, strict=False):
                if k is not None:
                    starts[k] = at
                at += count * unit_of(dtype)
            rest = rest[len(pieces) :]
        return starts

    def _pairs(self, arrays: Sequence[Array]) -> Iterator[tuple[Any, Any]]:
        """Yield (values, indices or None) for each gradient."""
        rest = iter(arrays)
        for spec in self._specs:
            values = next(rest)
            yield values, next(rest) if spec.sparse else None

    def _agree(self, given: Given) -> None:
        """Decide with all ranks, once, how each sparse gradient travels: as the fewer bytes."""
        counts = np.array([0 if i is None else len(i) for _, i in given], np.int64)
        self._collective.all_reduce(counts)
        regions = {dtype: _Region(dtype) for dtype in self.dtypes}
        for k, spec in enumerate(self._specs):
            if not spec.sparse:
                regions[spec.wire].dense[k] = regions[spec.wire].place(prod(spec.shape))
        for region in regions.values():
            region.dense_length = region.length
        for k in self._sparse:
            spec = self._specs[k]
            if self._keep_rows or counts[k] * spec.row_bytes < spec.dense_bytes:
                self._as_rows.append(k)
            else:
                region = regions[spec.wire]
                region.tables[k] = region.place(prod(spec.shape) + spec.shape[0])
        self._regions = regions

    def _put(self, region: _Region, buffer: Array, weight: float, given: Given) -> None:
        """Write the weighted gradients that are summed as a whole to their places."""
        for k, start in region.dense.items():
            values, shape = given[k][0], self._specs[k].shape
            part = buffer[start : start + prod(shape)].reshape(shape)
            if values is None:
                part[...] = 0
            else:
                np.multiply(values, weight, out=part, casting="unsafe")
        for k in region.tables:
            values, indices = given[k]
            table, marks = self._table(region, buffer, k)
            table[...] = 0
            marks[...] = 0
            if values is not None:
                np.add.at(table, indices, np.multiply(values, weight, dtype=region.dtype))
                marks[indices] = 1

    def _table(self, region: _Region, buffer: Array, k: int) -> tuple[Array, Array]:
        """Return the views of a table and of its marks."""
        shape, start = self._specs[k].shape, region.tables[k]
        end = start + prod(shape)
        return buffer[start:end].reshape(shape), buffer[end : end + shape[0]]

    def _exchange(
        self, buffers: dict[np.dtype[Any], Array], given: Given, weight: float
    ) -> dict[int, list[tuple[Array, Array]]]:
        """Sum the buffers in place; return all ranks' rows of each gradient that travels so."""
        flats = [buffers[dtype][: region.length] for dtype, region in self._regions.items()]
        peers = self._collective.size - 1
        ride = bool(self._as_rows) and sum(f.nbytes for f in flats) * peers <= _RIDE_BYTES
        if not ride:
            for flat in flats:
                if len(flat):
                    self._collective.all_reduce(flat)
        if not self._as_rows:
            return {}
        messages = self._collective.all_gather(
            self._outgoing(flats if ride else [], given, weight).data
        )
        return self._read(messages, flats if ride else [])

    def _outgoing(self, flats: list[Array], given: Given, weight: float) -> Array:
        """Return this rank's message: how many rows, their numbers, what rides along, the rows."""
        counts = [len(given[k][1]) for k in self._as_rows]
        size = _INDEX.itemsize * len(counts) + sum(flat.nbytes for flat in flats)
        size += sum(
            n * self._specs[k].row_bytes for k, n in zip(self._as_rows, counts, strict=True)
        )
        if size > len(self._message):
            self._message = np.empty(size, np.uint8)
        message = self._message[:size]
        cursor = _Cursor(message)
        cursor.take(_INDEX, len(counts))[:] = counts
        for k in self._as_rows:
            cursor.take(_INDEX, len(given[k][1]))[:] = given[k][1]
        for flat in flats:
            cursor.take(flat.dtype, len(flat))[:] = flat
        for k, count in zip(self._as_rows, counts, strict=True):
            spec, values = self._specs[k], given[k][0]
            if values is not None:
                place = cursor.take(spec.wire, count * spec.row)
                np.multiply(values.reshape(-1), weight, out=place, casting="unsafe")
        return message

    def _read(
        self, messages: Sequence[Any], flats: list[Array]
    ) -> dict[int, list[tuple[Array, Array]]]:
        """Add up what rode along, into `flats`; return rows and numbers of all ranks in order."""
        found: dict[int, list[tuple[Array, Array]]] = {k: [] for k in self._as_rows}
        for rank, message in enumerate(messages):
            cursor = _Cursor(message)
            counts = cursor.take(_INDEX, len(found)).tolist()
            numbers = [cursor.take(_INDEX, count) for count in counts]
            for flat in flats:
                theirs = cursor.take(flat.dtype, len(flat))
                if rank == 0:
                    np.copyto(flat, theirs)
                else:
                    np.add(flat, theirs, out=flat)
            for k, indices in zip(found, numbers, strict=True):
                values = cursor.take(self._specs[k].wire, len(indices) * self._specs[k].row)
                found[k].append((values, indices))
        return found

    def _results(
        self,
        buffers: dict[np.dtype[Any], Array],
        found: dict[int, list[tuple[Array, Array]]],
    ) -> list[Array]:
        """Put rows into the buffers, behind what was summed, and say what lies where."""
        for dtype, region in self._regions.items():
            for k in region.tables:
                table, marks = self._table(region, buffers[dtype], k)
                indices = np.flatnonzero(marks)
                found[k] = [(table[indices].reshape(-1), indices)]
        units: list[int] = []
        flats = []
        for dtype, region in self._regions.items():
            flat, counts = self._with_rows(region, buffers[dtype], found)
            flats.append(flat)
            units += [count // unit_of(dtype) for count in counts]
        totals = [sum(len(i) for _, i in found[k]) for k in self._sparse]
        numbers = [indices for k in self._sparse for _, indices in found[k]]
        return [*flats, np.concatenate([units, totals, *numbers]).astype(_INDEX, copy=False)]

    def _with_rows(
        self, region: _Region, buffer: Array, found: dict[int, list[tuple[Array, Array]]]
    ) -> tuple[Array, list[int]]:
        """Return a buffer with the rows of its sparse gradients, and the length of each piece."""
        dtype, specs = region.dtype, self._specs
        counts = [_padded(prod(specs[k].shape), dtype) for k in region.dense]
        counts.append(region.length - region.dense_length)
        sparse = [k for k in self._sparse if specs[k].wire == dtype]
        counts += [_padded(sum(len(values) for values, _ in found[k]), dtype) for k in sparse]
        if sum(counts) > len(buffer):
            buffer, before = region.buffer(sum(counts)), buffer
            buffer[: region.length] = before[: region.length]
        at = region.length
        for k, count in zip(sparse, counts[len(region.dense) + 1 :], strict=True):
            end = at
            for values, _ in found[k]:
                buffer[end : end + len(values)] = values
                end += len(values)
            at += count
        return buffer[:at].reshape(-1, unit_of(dtype)), counts


class _Cursor:
    """Reads and writes arrays one after another in bytes; they need not be aligned."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._at = 0

    def take(self, dtype: np.dtype[Any], count: int) -> Array:
        found: Array = np.frombuffer(self._data, dtype, count, self._at)
        self._at += count * dtype.itemsize
        return found
