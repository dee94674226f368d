"""Sums gradients between two compiled pieces of a JAX step.

::

    in the piece before      between, on the host          in the piece after
    dense -> weighed, flat   summed in place               split
    rows, numbers -> flat    gathered from all ranks       added up in tables of zeros
    or added up in the flat  summed in place               split

A table's gradient is sent as rows where they are much fewer bytes. Dense gradients ride along with
rows if they are few, so that a step has one message.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from zoo.orca.frameworks.gradients.fused_sum import FusedSum
from zoo.orca.frameworks.gradients.layout import GradientSpec
from zoo.orca.frameworks.keras.types import Tensor
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.collective.ring import Ring

#: Up to so many bytes of dense gradients are copied, to go along with rows.
_RIDE_BYTES = 128 << 10
#: Within a host, rows must be so many times fewer bytes: memory is fast, and to put 5,000 rows of
#: 16 numbers into tables takes 0.5 ms, as long as to sum 2 MB.
_FEWER_WITHIN_HOST = 8
#: Places in a vector are numbers of 32 bits, for rows that it does not have, too.
_MOST = np.iinfo(np.int32).max >> 1
#: More rows than any table has.
_NEVER = 1 << 40
_TABLE = jax.lax.ScatterDimensionNumbers(
    update_window_dims=(1,), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,)
)
_VECTOR = jax.lax.ScatterDimensionNumbers(
    update_window_dims=(1,), inserted_window_dims=(), scatter_dims_to_operand_dims=(0,)
)
_F32 = np.dtype(np.float32)
_F64 = np.dtype(np.float64)
Array = NDArray[Any]


class Exchange:
    """Sums the gradients of an optimizer over all ranks.

    Parameters
    ----------
    collective : Collective
    timed : callable
        Returns a function with its time counted.
    """

    def __init__(
        self, collective: Collective, timed: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        self._collective = collective
        self._timed = timed
        within_host = isinstance(collective, Ring) and not collective.spans_hosts
        self._fewer = _FEWER_WITHIN_HOST if within_host else 1
        self._chosen: dict[Any, dict[int, int]] = {}
        self._sums: dict[tuple[GradientSpec, ...], Callable[..., list[Array]]] = {}
        self._all_reduce = timed(collective.all_reduce)

    def chosen(self, specs: Sequence[GradientSpec], counts: Mapping[int, int]) -> dict[int, int]:
        """Return which gradients are sent as rows, and the rows of all ranks.

        All ranks call this in the same order. They agree once: a batch of another size, which one
        rank may have alone, changes nothing.

        Parameters
        ----------
        specs : sequence of GradientSpec
            Of all gradients.
        counts : mapping of int to int
            This rank's rows of each gradient that can be sent so, by its place.
        """
        key = (tuple(specs), tuple(counts))
        if counts and key not in self._chosen:
            # An accelerator adds up rows in any order, and ranks would not have the same bits.
            usable = jax.default_backend() == "cpu"
            totals = np.array([n if usable else _NEVER for n in counts.values()], np.int64)
            self._all_reduce(totals)
            self._chosen[key] = {
                k: total
                for k, total in zip(counts, totals.tolist(), strict=True)
                if total * specs[k].row_bytes * self._fewer < specs[k].dense_bytes
            }
        return self._chosen.get(key, {})

    def in_place(self, flat: jax.Array, rows: int) -> jax.Array:
        """Sum an array that has no other reference."""
        if next(iter(flat.devices())).platform != "cpu":
            own = np.array(flat)
            self._sum(own, rows)
            return jax.device_put(own, flat.sharding)
        flat.block_until_ready()
        # JAX's memory is read-only. But this array was made for the exchange, and only the next
        # piece reads it, so its memory may be written. Two copies would cost a tenth of a small
        # model's step.
        memory = (ctypes.c_char * flat.nbytes).from_address(flat.unsafe_buffer_pointer())
        self._sum(np.frombuffer(memory, flat.dtype), rows)
        return flat

    def gathered(
        self, specs: Sequence[GradientSpec], rows: int, of: int, arrays: Sequence[Array]
    ) -> list[Array]:
        """Return the sums of dense gradients, and all ranks' rows, as `FusedSum` does."""
        key = tuple(specs)
        if key not in self._sums:
            fused = FusedSum(self._collective, key, keep_rows=False)
            self._sums[key] = self._timed(fused)
        return self._sums[key](rows, of, *arrays)

    def _sum(self, flat: Array, rows: int) -> None:
        if rows == 0:
            flat[...] = 0  # gradients without rows may be anything, even NaN
        self._all_reduce(flat)


class Layout:
    """Where gradients lie in the arrays of an exchange.

    Parameters
    ----------
    specs : sequence of GradientSpec
        Of all gradients.
    rows : mapping of int to int
        How many rows this rank has of each gradient that is sent so, by its place.
    room : mapping of int to int
        How many all ranks have, at first.
    """

    def __init__(
        self, specs: Sequence[GradientSpec], rows: Mapping[int, int], room: Mapping[int, int]
    ) -> None:
        self._specs, self._rows, self._room = specs, rows, dict(room)
        dense = [k for k in range(len(specs)) if k not in rows]
        kinds = {wire: [k for k in dense if specs[k].wire == wire] for wire in (_F32, _F64)}
        count = sum(specs[k].size for k in kinds[_F32])
        self._riders = kinds.pop(_F32) if rows and count * _F32.itemsize <= _RIDE_BYTES else []
        self._flats = [places for places in kinds.values() if places]
        #: The gradients that are summed whole, and may be given as rows to be put into tables.
        self.takes_rows = frozenset(kinds.get(_F32, ()) if count <= _MOST else ())

    @cached_property
    def _sent(self) -> list[GradientSpec]:
        """What is gathered: the riders as one vector, and rows."""
        size = sum(self._specs[k].size for k in self._riders)
        riders = [GradientSpec(shape=(size,), dtype=_F32, sparse=False)] if self._riders else []
        tables = [self._specs[k] for k in self._rows]
        return [*riders, *(GradientSpec(shape=t.shape, dtype=_F32, sparse=True) for t in tables)]

    def packed(
        self,
        rows: Tensor,
        of: Tensor,
        dense: Mapping[int, Tensor],
        found: Mapping[int, Sequence[tuple[Tensor, Tensor]]],
    ) -> list[Tensor]:
        """Return what is exchanged; traced at the end of a piece.

        Parameters
        ----------
        rows, of : tensor
        dense : mapping of int to tensor
            The gradients that are sent whole.
        found : mapping of int to sequence of (numbers, values)
            The rows of the others, and of some that are sent whole.
        """
        weight = jnp.asarray(rows, jnp.float32) / jnp.asarray(of, jnp.float32)
        arrays = []
        for places in self._flats:
            # Weighted before they are joined, because XLA does both in one pass over memory.
            wire = self._specs[places[0]].wire
            runs = []
            for is_dense, group in groupby(places, dense.__contains__):
                run = list(group)
                flat = [
                    dense[k].reshape(-1).astype(wire) * weight.astype(wire) for k in run if is_dense
                ]
                runs.append((run, jnp.concatenate(flat) if flat else None))
            arrays.append(self._joined_runs(runs, weight, found))
        if self._rows:
            values = [dense[k].astype(_F32).reshape(-1) for k in self._riders]
            values += [v.reshape(-1) for k in self._rows for _, v in found[k]]
            numbers = [n.reshape(-1) for k in self._rows for n, _ in found[k]]
            arrays += [jnp.concatenate(values), jnp.concatenate(numbers)]
        return arrays

    def _joined_runs(
        self,
        runs: Sequence[tuple[list[int], Tensor | None]],
        weight: Tensor,
        found: Mapping[int, Sequence[tuple[Tensor, Tensor]]],
    ) -> Tensor:
        """Return gradients as one vector: runs of dense ones, and of those that come as rows."""
        if len(runs) == 1 and runs[0][1] is not None:
            return runs[0][1]
        at, dense, added = 0, [], []
        for run, flat in runs:
            if flat is not None:
                dense.append((at, flat))
            for k in run:
                if flat is None:
                    added += [(at, self._specs[k], n, v * weight) for n, v in found[k]]
                at += self._specs[k].size
        # Rows go to where their tables lie in the vector. Tables of their own would be made,
        # weighed and joined, and each is a pass over memory.
        whole = _with_rows(jnp.zeros(at, _F32), added)
        for start, flat in dense:
            whole = jax.lax.dynamic_update_slice(whole, flat, (start,))
        return whole

    def exchanged(
        self, exchange: Exchange, rows: int, of: int, arrays: Sequence[jax.Array]
    ) -> list[Any]:
        """Return what `packed` made, of all ranks."""
        flats = [exchange.in_place(flat, rows) for flat in arrays[: len(self._flats)]]
        if not self._rows:
            return flats
        values, numbers = (np.asarray(array) for array in arrays[len(self._flats) :])
        given, at, first = [], 0, 0
        if self._riders:
            at = self._sent[0].size
            given.append(values[:at])
        for k, count in self._rows.items():
            end = at + count * self._specs[k].row
            given += [values[at:end], numbers[first : first + count]]
            at, first = end, first + count
        return [*flats, *self._joined(exchange.gathered(self._sent, rows, of, given))]

    def _joined(self, sums: Sequence[Array]) -> list[Array]:
        """Return all values, and all numbers; behind a gradient's rows may be room for more.

        The room has numbers that no table has. Without it, the next piece would be compiled for
        each count of rows.
        """
        values, numbers = [], []
        rest = iter(sums)
        if self._riders:
            values.append(next(rest))
        for k in self._rows:
            table, found, at = self._specs[k], next(rest), next(rest)
            self._room[k] = max(self._room[k], len(at))
            spare = self._room[k] - len(at)
            values += [found.reshape(-1), np.zeros(spare * table.row, _F32)]
            numbers += [at, np.full(spare, table.shape[0])]
        return [np.concatenate(values), np.concatenate(numbers).astype(np.int32)]

    @property
    def rooms(self) -> tuple[int, ...]:
        """How many rows of each gradient the last exchange had room for."""
        return tuple(self._room[k] for k in self._rows)

    def unpacked(self, arrays: Sequence[Tensor], rooms: tuple[int, ...]) -> list[Tensor]:
        """Return the summed gradients; traced at the begin of a piece."""
        summed: dict[int, Tensor] = {}
        for places, flat in zip(self._flats, arrays, strict=False):
            self._split(places, flat, summed)
        if self._rows:
            values, numbers = arrays[len(self._flats) :]
            at, first = self._split(self._riders, values, summed), 0
            for k, room in zip(self._rows, rooms, strict=True):
                table, end = self._specs[k], at + room * self._specs[k].row
                own = values[at:end].reshape(room, -1)
                summed[k] = _table(table, numbers[first : first + room], own)
                at, first = end, first + room
        return [summed[k] for k in range(len(self._specs))]

    def _split(self, places: Sequence[int], flat: Tensor, summed: dict[int, Tensor]) -> int:
        start = 0
        for k in places:
            spec = self._specs[k]
            part = flat[start : start + spec.size]
            summed[k] = part.reshape(spec.shape).astype(spec.dtype)
            start += spec.size
        return start


def _table(spec: GradientSpec, numbers: Tensor, values: Tensor) -> Tensor:
    """Return zeros with rows added, as JAX makes a table's gradient itself."""
    zeros = jnp.zeros((spec.shape[0], prod(spec.shape[1:])), values.dtype)
    table = jax.lax.scatter_add(
        zeros, numbers[:, None], values, _TABLE, mode=jax.lax.GatherScatterMode.FILL_OR_DROP
    )
    return table.reshape(spec.shape)


def _with_rows(flat: Tensor, added: Sequence[tuple[int, GradientSpec, Tensor, Tensor]]) -> Tensor:
    """Return a vector with rows added to the tables that lie in it.

    That takes a third of the time of adding rows to tables and joining these.

    Parameters
    ----------
    flat : tensor
    added : sequence of (int, GradientSpec, numbers, values)
        Where a table begins, the table, and its rows.
    """
    widths = dict.fromkeys(table.row for _, table, _, _ in added)
    for width in widths:
        places, rows = [], []
        for start, table, numbers, values in added:
            if table.row == width:
                numbers = numbers.reshape(-1)
                is_row = (numbers >= 0) & (numbers < table.shape[0])
                numbers = numbers.astype(jnp.int32)
                # A row that the table does not have is put behind the vector, and so dropped.
                places.append(jnp.where(is_row, start + numbers * width, flat.size))
                rows.append(values.reshape(-1, width))
        flat = jax.lax.scatter_add(
            flat,
            jnp.concatenate(places)[:, None],
            jnp.concatenate(rows),
            _VECTOR,
            mode=jax.lax.GatherScatterMode.FILL_OR_DROP,
        )
    return flat
