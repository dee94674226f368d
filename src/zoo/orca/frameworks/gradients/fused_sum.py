"""One fused sum of gradients over all workers, in numpy: what is sent and what comes back.

::

    gradients of one rank        are sent as                         come out as
    dense                        one flat buffer, summed             dense
    sparse                       rows, in rank order; those of one   sparse, all ranks' or hosts'
                                 host are merged if they leave it    rows
    sparse, of many rows         part of the flat buffer             sparse, the rows touched

Each rank weights its gradients by its share of the step's rows, so the sum is the gradient of the
mean over the global batch. Dense stays dense and sparse stays sparse, because optimizers treat them
differently. Every sum is made in rank order or by the collective, so all ranks end with the same
bits.

Results of one dtype share one buffer, because a framework takes one array faster than many::

    dense | padding | dense | ... | whole tables, while they are summed | rows | padding | rows ...
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from zoo.orca.frameworks.gradients.layout import (
    INDEX,
    REMEMBERED,
    Array,
    GradientSpec,
    Parcel,
    Region,
    multiply,
    padded,
    unit_of,
)
from zoo.orca.worker.collective.protocol import Collective

#: Gradients as a framework passes them: values, and for a sparse one its row numbers.
Given = list[tuple[Any, Any]]
#: All ranks' rows of each gradient that is sent as rows: values and numbers.
Found = dict[int, list[tuple[Array, Array]]]
#: With fewer bytes than this to receive, dense gradients travel along with the sparse rows.
_RIDE_BYTES = 128 << 10


class FusedSum:
    """Sums one fixed list of gradients over all ranks; called on all ranks in the same order.

    Parameters
    ----------
    collective : Collective
    specs : sequence of GradientSpec
    keep_rows : bool
        Whether sparse gradients must always be sent as rows, because clipping needs each row.

    Attributes
    ----------
    dtypes : list of dtype
        The dtype of each buffer.
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
        self._rides = False
        self._regions: dict[np.dtype[Any], Region] = {}
        self._parcel = Parcel([], [])
        self._places = lru_cache(REMEMBERED)(self._place)

    def __call__(self, rows: int, of: int, *arrays: Array) -> list[Array]:
        """Return the sums: an array for a dense gradient, values and indices for a sparse one.

        Parameters
        ----------
        rows, of : int
            `rows` of the step's `of` rows are this rank's. With 0, its gradients come from a row
            that does not count. They may be anything, even NaN, and are not sent.
        *arrays : array
            In the format of the result.
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
            count = len(numbers[k]) * spec.row if spec.sparse else spec.size
            shape = (-1, *spec.shape[1:]) if spec.sparse else spec.shape
            part = buffers[spec.wire][starts[k] : starts[k] + count]
            if spec.sparse and not count:
                shape = (0, *spec.shape[1:])
            results.append(part.reshape(shape).astype(spec.dtype, copy=False))
            if spec.sparse:
                results.append(numbers[k])
        return results

    def packed(self, rows: int, of: int, *arrays: Array) -> list[Array]:
        """Return the sums as few arrays, for frameworks to split.

        Parameters
        ----------
        rows, of : int
        *arrays : array
            As for a call.

        Returns
        -------
        list of array
            For each of `dtypes` a buffer of shape (units, numbers per unit), and one array of
            int64. The array holds the units of each piece of each buffer (see `pieces`), the rows
            of each sparse gradient, and their numbers.
        """
        given = list(self._pairs(arrays))
        if rows == 0:
            given = [(None, None if indices is None else indices[:0]) for _, indices in given]
        if not self._regions:
            self._agree(given)
        buffers = {dtype: r.buffer(r.length) for dtype, r in self._regions.items()}
        found = self._exchange(buffers, given, rows / of)
        return self._results(buffers, found)

    def pieces(self, dtype: np.dtype[Any]) -> list[int | None]:
        """Return which gradients' values lie in a buffer, in order; None marks unused space."""
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
        """Decide once with all ranks how each sparse gradient is sent: as the fewer bytes."""
        counts = np.array([0 if i is None else len(i) for _, i in given], np.int64)
        self._collective.all_reduce(counts)
        regions = {dtype: Region(dtype=dtype) for dtype in self.dtypes}
        for k, spec in enumerate(self._specs):
            if not spec.sparse:
                regions[spec.wire].dense[k] = regions[spec.wire].place(spec.size)
        for region in regions.values():
            region.dense_length = region.length
        for k in self._sparse:
            spec = self._specs[k]
            if self._keep_rows or counts[k] * spec.row_bytes < spec.dense_bytes:
                self._as_rows.append(k)
            else:
                region = regions[spec.wire]
                region.tables[k] = region.place(spec.size + spec.shape[0])
        self._regions = regions
        peers = self._collective.size - 1
        riders = [(dtype, region.length) for dtype, region in regions.items()]
        total = sum(length * dtype.itemsize for dtype, length in riders)
        self._rides = bool(self._as_rows) and total * peers <= _RIDE_BYTES
        as_rows = [self._specs[k] for k in self._as_rows]
        rounded = getattr(self._collective, "exact", None) is not None
        self._parcel = Parcel(as_rows, riders if self._rides else [], rounded=rounded)

    def _put(self, region: Region, buffer: Array, weight: float, given: Given) -> None:
        """Write the weighted gradients that are summed whole into the buffers."""
        for k, start in region.dense.items():
            values, spec = given[k][0], self._specs[k]
            part = buffer[start : start + spec.size].reshape(spec.shape)
            if values is None:
                part[...] = 0
            else:
                multiply(values, weight, part)
        for k in region.tables:
            values, indices = given[k]
            table, marks = self._table(region, buffer, k)
            table[...] = 0
            marks[...] = 0
            if values is not None:
                np.add.at(table, indices, np.multiply(values, weight, dtype=region.dtype))
                marks[indices] = 1

    def _table(self, region: Region, buffer: Array, k: int) -> tuple[Array, Array]:
        """Return the views of a table and of its marks."""
        spec, start = self._specs[k], region.tables[k]
        end = start + spec.size
        return buffer[start:end].reshape(spec.shape), buffer[end : end + spec.shape[0]]

    def _exchange(self, buffers: dict[np.dtype[Any], Array], given: Given, weight: float) -> Found:
        """Write the sums to the buffers; return all ranks' rows of each gradient sent as rows."""
        flats = [buffers[dtype][: region.length] for dtype, region in self._regions.items()]
        mine = flats
        if self._as_rows:
            riders = self._parcel.pack([given[k] for k in self._as_rows], weight)
            mine = riders if self._rides else flats
        for region, place in zip(self._regions.values(), mine, strict=True):
            self._put(region, place, weight, given)
        if not self._rides:
            for flat in flats:
                if len(flat):
                    self._collective.all_reduce(flat)
        if not self._as_rows:
            return {}
        found: Found = {k: [] for k in self._as_rows}
        # Clipping needs each row as its rank has made it.
        merge = None if self._keep_rows else self._parcel.merged
        for number, message in enumerate(self._collective.all_gather(self._parcel.data, merge)):
            riders, rows = self._parcel.unpack(message)
            for flat, theirs in zip(flats, riders, strict=self._rides):
                if number == 0:
                    np.copyto(flat, theirs)
                else:
                    np.add(flat, theirs, out=flat)
            for k, pair in zip(self._as_rows, rows, strict=True):
                found[k].append(pair)
        return found

    def _results(self, buffers: dict[np.dtype[Any], Array], found: Found) -> list[Array]:
        """Put rows into the buffers after the sums, and return what lies where."""
        for dtype, region in self._regions.items():
            for k in region.tables:
                table, marks = self._table(region, buffers[dtype], k)
                indices = np.flatnonzero(marks)
                found[k] = [(table[indices].reshape(-1), indices)]
        totals = tuple(sum(len(indices) for _, indices in found[k]) for k in self._sparse)
        places = self._places(totals)
        flats = []
        for (dtype, region), length in zip(self._regions.items(), places.lengths, strict=True):
            buffer = buffers[dtype]
            if length > len(buffer):
                buffer = region.buffer(length)
                buffer[: region.length] = buffers[dtype][: region.length]
                buffers[dtype] = buffer
            flats.append(buffer[:length].reshape(-1, unit_of(dtype)))
        for k, place in zip(self._sparse, places.rows, strict=True):
            parts = [values for values, _ in found[k]]
            np.concatenate(parts, out=buffers[self._specs[k].wire][place])
        numbers = [indices for k in self._sparse for _, indices in found[k]]
        return [*flats, np.concatenate([places.integers, *numbers])]

    def _place(self, each: tuple[int, ...]) -> "_Places":
        totals = dict(zip(self._sparse, each, strict=True))
        units: list[int] = []
        lengths, rows = [], {}
        for dtype, region in self._regions.items():
            counts = [padded(self._specs[k].size, dtype) for k in region.dense]
            counts.append(region.length - region.dense_length)
            at = region.length
            for k in totals:
                if self._specs[k].wire == dtype:
                    count = totals[k] * self._specs[k].row
                    rows[k] = slice(at, at + count)
                    counts.append(padded(count, dtype))
                    at += counts[-1]
            lengths.append(at)
            units += [count // unit_of(dtype) for count in counts]
        integers = np.array([*units, *totals.values()], INDEX)
        return _Places(lengths=lengths, rows=[rows[k] for k in totals], integers=integers)


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where results lie, for given row counts of the sparse gradients."""

    #: The length of each buffer in numbers.
    lengths: list[int]
    #: The position in its buffer, for each sparse gradient.
    rows: list[slice]
    #: What precedes the row numbers.
    integers: Array
