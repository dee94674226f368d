"""A worker's rows, written to files of one column each for each data set as they arrive.

`zoo.orca.worker.rows.column_files` says how they lie there: in a form that can be mapped without a
copy. Columns that are padded lie there as they came, in lists of any size, because only all workers
together know the longest.

A faulty row does not stop the spooling. All rows are checked, so the error can say how many are
faulty. After the first fault, nothing more is written.
"""

import os
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from zoo.orca.wire.faults import LONGEST, OTHER_LENGTHS
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.messages.rows import DataSet, Finding, Spooled
from zoo.orca.worker.rows.arrays import numbers
from zoo.orca.worker.rows.blocks import Blocks
from zoo.orca.worker.rows.column_files import ColumnFile, write_rows
from zoo.orca.worker.rows.columns import Parts, null_rows, rows_by_length, show_row, take_apart
from zoo.orca.worker.rows.padding import cut
from zoo.orca.worker.rows.sequence import PlaceFile
from zoo.orca.worker.rows.vectors import unpacked

#: Bytes of rows held in memory before they are written: enough that narrow columns are written in
#: pieces of some size, and so few that a batch's memory is there again for one of the next.
BLOCK_BYTES = 4 << 20
#: How many different lengths are counted one by one, for each column.
_COUNTED = 64


class Spool:
    """Writes the rows of one worker.

    Parameters
    ----------
    directory : str
        Where the files go.
    spec : FeatureSpec
    validate : bool
        Whether the column after those of `spec` marks validation rows (true).
    """

    def __init__(self, directory: str, spec: FeatureSpec, validate: bool) -> None:
        self._names = [column.name for column in spec.columns]
        self._marker = len(spec.columns)
        origin = self._marker + validate

        def data_set(name: str) -> "_DataSet":
            path = os.path.join(directory, name)
            return _DataSet(path, name, spec.columns, origin)

        self._train = data_set("train")
        self._validation = data_set("validation") if validate else None

    def add(self, batch: pa.RecordBatch) -> None:
        """Write the rows of one batch: ``spec.columns``, then marker, origin, place if any."""
        for piece in unpacked(batch, self._names):
            self._add(piece)

    def _add(self, batch: pa.RecordBatch) -> None:
        """Write rows whose Vectors are unpacked."""
        if self._validation is None:
            self._train.add(batch)
            return
        marker = batch.column(self._marker)
        marked = marker.true_count
        if marked in (0, batch.num_rows):  # most batches come from one frame only
            (self._validation if marked else self._train).add(batch)
        else:
            self._train.add(batch.filter(pc.invert(marker)))
            self._validation.add(batch.filter(marker))

    def finish(self) -> Spooled:
        """Close the files and return the findings."""
        sets = [self._train] if self._validation is None else [self._train, self._validation]
        for data in sets:
            data.close()
        # The task now waits for its child, perhaps for hours, and needs none of this memory.
        pa.default_memory_pool().release_unused()
        train, *validation = (DataSet(data.rows, data.path) for data in sets)
        return Spooled(
            train=train,
            validation=validation[0] if validation else None,
            findings=tuple(found for data in sets for found in data.findings()),
        )


#: Position of the column, kind, nesting level, length.
_Key = tuple[int, str, int, int]


@dataclass(slots=True)
class _Tally:
    """The number of rows with one fault, and one example."""

    rows: int
    example: str


class _DataSet:
    """The rows of one data set: checked, then written.

    `origin` is the column with the partitions of a batch's rows, if they were exchanged. The next
    one has their places in the sequence.
    """

    def __init__(self, path: str, name: str, specs: tuple[ColumnSpec, ...], origin: int) -> None:
        self.path = path
        self.rows = 0
        self._name = name
        self._specs = specs
        self._origin = origin
        self._file = _Block(path, specs)
        self._blocks = Blocks()
        self._places = PlaceFile(path)
        self._shapes: list[tuple[int | None, ...] | None] = [None] * len(specs)
        self._tallies: dict[_Key, _Tally] = {}
        self._longest: dict[tuple[int, int], int] = {}
        self._distinct = [0] * len(specs)
        self._faulty = False

    def add(self, batch: pa.RecordBatch) -> None:
        """Check the rows of a batch, and write them unless a fault was found."""
        if not batch.num_rows:
            return
        self.rows += batch.num_rows
        if batch.num_columns > self._origin:
            self._blocks.add(numbers(batch.column(self._origin)))
            self._places.add(numbers(batch.column(self._origin + 1)))
        columns = [batch.column(index) for index in range(len(self._specs))]
        parts = [_parts(a, s) for a, s in zip(columns, self._specs, strict=True)]
        for index, part in enumerate(parts):
            self._look_at(index, part, columns)
        if not self._faulty:
            self._file.add(parts, batch.num_rows)

    def close(self) -> None:
        """Write what is still buffered and close the file."""
        self._file.close()
        self._blocks.save(self.path)
        self._places.close()

    def findings(self) -> list[Finding]:
        """Return the findings so far."""
        return [
            Finding(
                column=self._specs[index].name,
                data=self._name,
                kind=kind,
                rows=t.rows,
                example=t.example,
                level=level,
                length=length,
            )
            for (index, kind, level, length), t in self._tallies.items()
        ] + [
            Finding(
                column=self._specs[index].name,
                data=self._name,
                kind=LONGEST,
                rows=self.rows,
                example="",
                level=level,
                length=length,
            )
            for (index, level), length in self._longest.items()
        ]

    def _look_at(self, index: int, part: Parts, columns: list[pa.Array]) -> None:
        depth = len(part.lengths)
        if part.has_nulls:
            self._faulty = True
            outer, inner = null_rows(columns[index], depth)
            for kind, rows in (("null", outer), ("null inside", inner)):
                if len(rows):
                    self._count((index, kind, 0, 0), len(rows), int(rows[0]), columns)
        elif not depth:
            return
        if self._specs[index].padding is not None:
            for level, lengths in enumerate(part.lengths):
                longest = int(lengths.max()) if len(lengths) else 0
                known = self._longest.get((index, level), 0)
                self._longest[index, level] = max(longest, known)
            return
        shape = part.shape
        if self._shapes[index] is None:
            self._shapes[index] = shape
        if shape is not None and shape == self._shapes[index] and not part.has_nulls:
            self._count_uniform(index, shape, columns)
            return
        for level in range(depth):
            by_length = rows_by_length(columns[index], depth, level)
            for length, (count, first) in by_length.items():
                self._count((index, "length", level, length), count, first, columns)
        self._faulty = True

    def _count_uniform(
        self, index: int, shape: tuple[int | None, ...], columns: list[pa.Array]
    ) -> None:
        for level, length in enumerate(shape):
            if length is not None:
                self._count((index, "length", level, length), len(columns[index]), 0, columns)

    def _count(self, key: _Key, rows: int, first: int, columns: list[pa.Array]) -> None:
        index, kind, level, _ = key
        tally = self._tallies.get(key)
        if tally is None and kind == "length" and self._distinct[index] >= _COUNTED:
            key = (index, kind, level, OTHER_LENGTHS)
            tally = self._tallies.get(key)
        if tally is None:
            self._distinct[index] += 1
            example = show_row(columns, self._specs, first, index)
            self._tallies[key] = _Tally(rows, example)
        else:
            tally.rows += rows


class _Block:
    """The rows that came last, and the files of those before them."""

    def __init__(self, path: str, specs: tuple[ColumnSpec, ...]) -> None:
        self._path = path
        self._files = [ColumnFile(path, index, spec.dtype) for index, spec in enumerate(specs)]
        self._held: list[list[Parts]] = [[] for _ in specs]
        self._is_padded = [spec.padding is not None for spec in specs]
        self._rows = self._bytes = 0

    def add(self, parts: list[Parts], rows: int) -> None:
        """Take the parts of some rows."""
        for held, part in zip(self._held, parts, strict=True):
            held.append(part)
            self._bytes += part.values.nbytes
        self._rows += rows
        if self._bytes >= BLOCK_BYTES:
            self._write()

    def close(self) -> None:
        """Write what is held; a data set without rows has a file too."""
        self._write()
        write_rows(self._path, self._rows)

    def _write(self) -> None:
        for file, held, is_padded in zip(self._files, self._held, self._is_padded, strict=True):
            file.write(part.values for part in held)
            if is_padded and held:
                for level, lengths in enumerate(zip(*(one.lengths for one in held), strict=True)):
                    file.write_lengths(level, lengths)
            held.clear()
        self._bytes = 0


def _parts(array: pa.Array, spec: ColumnSpec) -> Parts:
    """Return the parts of a column, without what a length that was asked for leaves out."""
    parts = take_apart(array, len(spec.shape))
    return parts if spec.padding is None else cut(parts, spec.shape, spec.padding.keep)
