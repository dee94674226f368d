"""The rows of an XShards for an estimator, and its predictions back in the shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame

from zoo.orca.data.shard.lazy import LazyShards, mapped_cells
from zoo.orca.data.shard.xshards import XShards, made
from zoo.orca.errors import DataError
from zoo.orca.wire.shards.packed import COLUMNS
from zoo.orca.worker.shards.learning import (
    CARRIED,
    ModelRows,
    NoPredictions,
    Tell,
    Told,
    carrying,
    make_answer_task,
    read_schema,
)


class ModelFrame:
    """The rows of shards as a DataFrame for a model.

    Parameters
    ----------
    shards : XShards
    """

    def __init__(self, shards: XShards) -> None:
        self._lazy: LazyShards = shards._lazy
        self._told: dict[frozenset[str], list[Told]] = {}

    def parts(self) -> Mapping[str, Sequence[str] | Mapping[str, str]]:
        """Return the columns of ``x`` and ``y``; nothing for frames. This computes one shard."""
        return self._tell(frozenset())[0].parts

    def frame(self, wanted: frozenset[str], *, carries: bool) -> DataFrame:
        """Return the rows; those that carry their shards can be given to `answered`.

        Parameters
        ----------
        wanted : frozenset of str
            The names, in lower case, of the columns that are needed.
        carries : bool
        """
        told = self._tell(wanted)
        schemas = [read_schema(one.schema) for one in told]
        schema = pa.schema([_settled(field, schemas) for field in schemas[0]])
        row = next((one.row for one in told if one.row), b"")
        carries = carries and bool(row) and wanted <= {name.lower() for name in schema.names}
        rows = ModelRows(
            schema=schema.serialize().to_pybytes(), wanted=wanted, carries=carries, row=row
        )
        return self._lazy.rows(carrying(schema) if carries else schema, rows)

    def answered(self, predicted: DataFrame, outputs: Sequence[str]) -> XShards:
        """Return the shards with predictions.

        Parameters
        ----------
        predicted : DataFrame
            The rows that carry their shards, and behind them the outputs.
        outputs : sequence of str
        """
        names = predicted.columns
        first = len(names) - len(outputs) - len(COLUMNS)
        if names[first : first + len(COLUMNS)] != [f"{CARRIED}{name}" for name in COLUMNS]:
            # No shard has a row that could carry one.
            return made(self._lazy.then(NoPredictions(list(outputs))))
        numbered = predicted.toDF(*(f"c{place}" for place in range(len(names))))
        chosen = numbered.select(*(f"c{place}" for place in range(first, len(names))))
        places = {name: len(COLUMNS) + place for place, name in enumerate(outputs)}
        frame = mapped_cells(chosen, make_answer_task(places))
        return made(LazyShards(source=frame, partitions=self._lazy.partitions))

    def _tell(self, wanted: frozenset[str]) -> list[Told]:
        """Return what the first shard tells; what all tell, if it has no row, or an open type."""
        known = self._told.get(wanted) or [
            one for found in self._told.values() for one in found if one.parts
        ]
        if known:
            return known
        telling = self._lazy.then(Tell(wanted))
        found = [shard.value for shard in telling.first(1)]
        if not found:
            raise DataError("there are no shards\nLook at what was read or selected")
        is_open = pa.null() in read_schema(found[0].schema).types
        if is_open or not found[0].row:
            found = [shard.value for shard in telling.collect()]
        return self._told.setdefault(wanted, found)


def is_xshards(value: object) -> bool:
    """Whether a value is an XShards."""
    return isinstance(value, XShards)


def _settled(field: pa.Field, schemas: Sequence[pa.Schema]) -> pa.Field:
    """Return a column in the type of the first shard that has values in it; floats if none has."""
    found = (one.field(field.name) for one in schemas if field.name in one.names)
    told = next((one for one in found if one.type != pa.null()), None)
    return told if told is not None else pa.field(field.name, pa.float32())
