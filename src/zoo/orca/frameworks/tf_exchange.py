"""Where gradients meet: one fused sum over all workers for each call of an optimizer.

::

    gradients of one rank        travel as                           come out as
    dense                        one flat buffer, summed             dense
    sparse (IndexedSlices)       rows, one after another by rank     sparse, all ranks' rows
    sparse, of many rows         part of the flat buffer             sparse, the rows touched

Each rank weighs its gradients by its share of the step's rows, so the sum is the gradient of the
mean over the global batch. Kinds never change on the way: optimizers treat sparse gradients
differently from dense ones. Numpy only, but for :func:`exchanged`; every sum is made in the order
of ranks or by the collective, so all ranks end with the same bits.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.worker.collective import Collective

Array = NDArray[Any]
#: Below so many bytes to receive, dense gradients ride along with the sparse ones' rows.
_RIDE_BYTES = 128 << 10
#: TensorFlow takes numpy's memory without a copy where it is aligned to this.
_ALIGN = 64
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
    def row_bytes(self) -> int:
        """Bytes of one row of a sparse gradient and of its number."""
        return prod(self.shape[1:]) * self.wire.itemsize + _INDEX.itemsize

    @property
    def dense_bytes(self) -> int:
        """Bytes of a sparse gradient in the flat buffer, with marks of the rows touched."""
        return (prod(self.shape) + self.shape[0]) * self.wire.itemsize


class _Flat:
    """Places of arrays in one aligned buffer, and buffers to put them in.

    TensorFlow may still hold a part of the last step's buffer, so a buffer is used again only
    when nobody else holds it.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.places: list[tuple[int, tuple[int, ...]]] = []
        self.length = 0
        self._buffers: list[Array] = []

    def add(self, shape: tuple[int, ...]) -> int:
        """Make room for an array; return its number."""
        self.places.append((self.length, shape))
        step = _ALIGN // self.dtype.itemsize
        self.length += -(-prod(shape) // step) * step
        return len(self.places) - 1

    def buffer(self) -> Array:
        """Return a buffer that nobody holds; its gaps are zeros, its values are old."""
        for index in range(len(self._buffers)):
            # Views keep the array that owns the memory, so they count.
            if sys.getrefcount(self._buffers[index]) == _HELD_BY_LIST:
                return self._aligned(self._buffers[index])
        self._buffers.append(np.zeros(self.length * self.dtype.itemsize + _ALIGN, np.uint8))
        return self._aligned(self._buffers[-1])

    def _aligned(self, raw: Array) -> Array:
        start = -raw.ctypes.data % _ALIGN
        return raw[start : start + self.length * self.dtype.itemsize].view(self.dtype)

    def part(self, buffer: Array, number: int) -> Array:
        """Return the view of one array in a buffer."""
        start, shape = self.places[number]
        return buffer[start : start + prod(shape)].reshape(shape)


class FusedSum:
    """Sums one fixed list of gradients over all ranks; called on all ranks in the same order.

    Parameters
    ----------
    collective : Collective
    specs : sequence of GradientSpec
    keep_rows : bool
        Whether sparse gradients must always travel as rows: clipping sees every one of them.
    """

    def __init__(
        self, collective: Collective, specs: Sequence[GradientSpec], *, keep_rows: bool
    ) -> None:
        self._collective = collective
        self._specs = specs
        self._keep_rows = keep_rows
        self._travels: list[bool] | None = None
        self._flats: dict[np.dtype[Any], _Flat] = {}
        self._slots: list[tuple[_Flat, int, int] | None] = []

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
        given = list(self._pairs(arrays))
        if rows == 0:
            given = [(None, None if indices is None else indices[:0]) for _, indices in given]
        if self._travels is None:
            self._agree(given)
        weight = rows / of
        buffers = {flat.dtype: flat.buffer() for flat in self._flats.values()}
        for spec, slot, (values, indices) in zip(self._specs, self._slots, given, strict=True):
            if slot is not None:
                self._put(spec, slot, buffers, weight, values, indices)
        gathered = self._sum(buffers, given, weight)
        return self._results(buffers, gathered)

    def _pairs(self, arrays: Sequence[Array]) -> Any:
        """Yield (values, indices or None) for each gradient."""
        rest = iter(arrays)
        for spec in self._specs:
            values = next(rest)
            yield values, next(rest) if spec.sparse else None

    def _agree(self, given: list[tuple[Any, Any]]) -> None:
        """Decide with all ranks, once, how each sparse gradient travels: as the fewer bytes."""
        counts = np.array([0 if i is None else len(i) for _, i in given], np.int64)
        self._collective.all_reduce(counts)
        self._travels = []
        for spec, count in zip(self._specs, counts.tolist(), strict=True):
            fewer = spec.sparse and count * spec.row_bytes < spec.dense_bytes
            as_rows = spec.sparse and (self._keep_rows or fewer)
            self._travels.append(as_rows)
            if as_rows:
                self._slots.append(None)
                continue
            flat = self._flats.setdefault(spec.wire, _Flat(spec.wire))
            touched = flat.add(spec.shape[:1]) if spec.sparse else -1
            self._slots.append((flat, flat.add(spec.shape), touched))

    def _put(
        self,
        spec: GradientSpec,
        slot: tuple[_Flat, int, int],
        buffers: dict[np.dtype[Any], Array],
        weight: float,
        values: Any,
        indices: Any,
    ) -> None:
        """Write one weighted gradient to its place in the buffer."""
        flat, number, touched = slot
        part = flat.part(buffers[flat.dtype], number)
        if values is not None and indices is None:
            np.multiply(values, weight, out=part, casting="unsafe")
            return
        part[...] = 0
        if indices is not None:
            marks = flat.part(buffers[flat.dtype], touched)
            marks[...] = 0
            if values is not None:
                np.add.at(part, indices, np.multiply(values, weight, dtype=flat.dtype))
                marks[indices] = 1

    def _sum(
        self, buffers: dict[np.dtype[Any], Array], given: list[tuple[Any, Any]], weight: float
    ) -> list[tuple[Array, Array]]:
        """Sum the buffers in place; return all ranks' rows of each gradient that travels so."""
        wanted = [k for k, as_rows in enumerate(self._travels or ()) if as_rows]
        flats = list(buffers.values())
        peers = self._collective.size - 1
        ride = bool(wanted) and sum(flat.nbytes for flat in flats) * peers <= _RIDE_BYTES
        if not ride:
            for flat in flats:
                self._collective.all_reduce(flat)
        if not wanted:
            return []
        pieces: list[Array] = [flat.view(np.uint8) for flat in flats] if ride else []
        counts = np.array([len(given[k][1]) for k in wanted], _INDEX)
        pieces.append(counts.view(np.uint8))
        for k in wanted:
            values, indices = given[k]
            pieces.append(indices.astype(_INDEX, copy=False).view(np.uint8))
            if values is not None:
                scaled = np.multiply(values, weight, dtype=self._specs[k].wire)
                pieces.append(scaled.reshape(-1).view(np.uint8))
        messages = self._collective.all_gather(np.concatenate(pieces).data)
        return self._read(messages, flats if ride else [], wanted)

    def _read(
        self, messages: Sequence[Any], flats: list[Array], wanted: list[int]
    ) -> list[tuple[Array, Array]]:
        """Add up what rode along, into `flats`; return rows and numbers of all ranks in order."""
        found: list[list[tuple[Array, Array]]] = [[] for _ in wanted]
        for rank, message in enumerate(messages):
            cursor = _Cursor(message)
            for flat in flats:
                theirs = cursor.take(flat.dtype, len(flat))
                if rank == 0:
                    np.copyto(flat, theirs)
                else:
                    np.add(flat, theirs, out=flat)
            counts = cursor.take(_INDEX, len(wanted)).tolist()
            for place, (k, count) in enumerate(zip(wanted, counts, strict=True)):
                spec = self._specs[k]
                indices = cursor.take(_INDEX, count)
                values = cursor.take(spec.wire, count * prod(spec.shape[1:]))
                found[place].append((values.reshape(count, *spec.shape[1:]), indices))
        return [
            (np.concatenate([v for v, _ in parts]), np.concatenate([i for _, i in parts]))
            for parts in found
        ]

    def _results(
        self, buffers: dict[np.dtype[Any], Array], gathered: list[tuple[Array, Array]]
    ) -> list[Array]:
        results: list[Array] = []
        rest = iter(gathered)
        for spec, slot in zip(self._specs, self._slots, strict=True):
            if slot is None:
                values, indices = next(rest)
            else:
                flat, number, touched = slot
                values = flat.part(buffers[flat.dtype], number)
                if spec.sparse:
                    indices = np.flatnonzero(flat.part(buffers[flat.dtype], touched))
                    values = values[indices]
            results.append(values.astype(spec.dtype, copy=False))
            if spec.sparse:
                results.append(indices)
        return results


class _Cursor:
    """Reads arrays one after another from bytes; they need not be aligned."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._at = 0

    def take(self, dtype: np.dtype[Any], count: int) -> Array:
        found: Array = np.frombuffer(self._data, dtype, count, self._at)
        self._at += count * dtype.itemsize
        return found


def exchanged(
    gradients: Sequence[Any],
    variables: Sequence[Any],
    rows: Any,
    of: Any,
    fused: dict[tuple[GradientSpec, ...], Callable[..., Any]],
    make: Callable[[tuple[GradientSpec, ...]], Callable[..., Any]],
) -> list[Any]:
    """Return the gradients of the global batch, in a graph or eagerly.

    Parameters
    ----------
    gradients, variables : sequence
        As for an optimizer's `apply_gradients`; gradients may be None.
    rows, of : tensor
        This rank's and all ranks' rows of the step.
    fused : dict
        Keeps the sums that were agreed on, by their specs.
    make : callable
        Returns a `FusedSum`, or what calls it, for specs.
    """
    import tensorflow as tf

    known = [k for k, gradient in enumerate(gradients) if gradient is not None]
    if not known:
        return list(gradients)
    specs = tuple(_spec(gradients[k], variables[k]) for k in known)
    if specs not in fused:
        fused[specs] = make(specs)
    inputs, dtypes = [], []
    for spec, k in zip(specs, known, strict=True):
        gradient = gradients[k]
        inputs += [gradient.values, gradient.indices] if spec.sparse else [gradient]
        dtypes += [gradient.dtype, tf.int64] if spec.sparse else [gradient.dtype]
    results = iter(tf.numpy_function(fused[specs], [rows, of, *inputs], dtypes))
    summed = list(gradients)
    for spec, k in zip(specs, known, strict=True):
        values = next(results)
        if spec.sparse:
            values.set_shape((None, *spec.shape[1:]))
            indices = tf.cast(tf.ensure_shape(next(results), (None,)), gradients[k].indices.dtype)
            shape = tf.constant(spec.shape, gradients[k].indices.dtype)
            summed[k] = tf.IndexedSlices(values, indices, shape)
        else:
            values.set_shape(spec.shape)
            summed[k] = values
    return summed


def _spec(gradient: Any, variable: Any) -> GradientSpec:
    import tensorflow as tf

    dtype = np.dtype(tf.as_dtype(gradient.dtype).as_numpy_dtype)
    return GradientSpec(tuple(variable.shape), dtype, isinstance(gradient, tf.IndexedSlices))
