"""Tables on their way into a session."""

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from zoo.orca.learn.forms import tables
from zoo.orca.learn.forms.tables import in_pieces, moved

pytestmark = pytest.mark.timeout(180)


def test_pieces_are_neither_small_nor_large(monkeypatch) -> None:
    monkeypatch.setattr(tables, "_PIECE_BYTES", 8000)
    many = pa.concat_tables([pa.table({"x": [float(n)]}) for n in range(3000)])
    for table in (many, many.combine_chunks()):
        pieces = in_pieces(table)
        assert pieces == table
        assert [len(chunk) for chunk in pieces["x"].chunks] == [1000, 1000, 1000]
    wide = pa.table({"x": pa.FixedSizeListArray.from_arrays(np.zeros(30_000), 10_000)})
    assert in_pieces(wide)["x"].num_chunks == 3
    assert in_pieces(many.slice(0, 0)).num_rows == 0
    # Spark's createDataFrame fails at lists without a chunk.
    none = pa.table({"h": pa.chunked_array([], pa.list_(pa.int64()))})
    assert in_pieces(none)["h"].num_chunks == 1 and in_pieces(none).schema == none.schema


SETTING = "spark.sql.execution.arrow.localRelationThreshold"


@pytest.mark.classic("only there does a plan tell its partitions")
@pytest.mark.parametrize("own", [None, "100m"])
def test_rows_keep_their_order_in_few_partitions(spark: SparkSession, monkeypatch, own) -> None:
    """They are no part of the plan, which Spark would make them; the user's setting stays."""
    rows = 300_000
    table = pa.table({"x": np.arange(rows), "c": np.arange(rows) / 7})
    monkeypatch.setattr(tables, "_PARTITION_BYTES", table.nbytes // 3)
    if own is not None:
        spark.conf.set(SETTING, own)
    try:
        frame = moved(spark, table)
        assert spark.conf.get(SETTING, None) == own
    finally:
        spark.conf.unset(SETTING)
    found = frame.toArrow()
    assert found.equals(table.cast(found.schema))
    assert 3 <= frame.rdd.getNumPartitions() <= 4
