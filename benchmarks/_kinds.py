"""The kinds of rows that reach workers: what a row has, how many there are, and files of them.

======== =====================================================================
ints     3 columns of int
floats   100 columns of float, each an input of its own
stacked  100 columns of float, concatenated into one input
vectors  a dense Vector of 100
sparse   a sparse Vector of 100 with 5 values
arrays   an array<float> of 100
pictures 150,528 bytes: 224 x 224 x 3
strings  a text of 8 to 72 letters
======== =====================================================================
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

WIDTH = 100
PICTURE = 224 * 224 * 3
_SET = WIDTH // 20


def _ints(rng: np.random.Generator, rows: int) -> pa.Table:
    return pa.table({f"x{n}": rng.integers(0, 10_000, rows, np.int32) for n in range(3)})


def _floats(rng: np.random.Generator, rows: int) -> pa.Table:
    return pa.table({f"x{n}": rng.random(rows, np.float32) for n in range(WIDTH)})


def _arrays(rng: np.random.Generator, rows: int) -> pa.Table:
    return pa.table({"x": lists(rng.random((rows, WIDTH), np.float32))})


def _vectors(rng: np.random.Generator, rows: int) -> pa.Table:
    return vectors(rng.random((rows, WIDTH), np.float32))


def _sparse(rng: np.random.Generator, rows: int) -> pa.Table:
    return sparse_vectors(*sparse_places(rng, rows))


def _pictures(rng: np.random.Generator, rows: int) -> pa.Table:
    offsets = np.arange(rows + 1, dtype=np.int64) * PICTURE
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(rng.bytes(rows * PICTURE))]
    return pa.table({"x": pa.Array.from_buffers(pa.large_binary(), rows, buffers)})


def _strings(rng: np.random.Generator, rows: int) -> pa.Table:
    offsets = np.concatenate([[0], np.cumsum(rng.integers(8, 73, rows))]).astype(np.int32)
    letters = rng.integers(97, 123, offsets[-1], np.uint8)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(letters)]
    return pa.table({"x": pa.Array.from_buffers(pa.string(), rows, buffers)})


def lists(values: np.ndarray) -> pa.Array:
    """Return rows of one length as a column of lists."""
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))


def vectors(values: np.ndarray) -> pa.Table:
    """Return rows as dense Vectors, in the form that Spark stores."""
    rows = len(values)
    return _stored(1, pa.nulls(rows, pa.int32()), pa.nulls(rows, pa.list_(pa.int32())), values)


def sparse_places(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where each row has its values, in order, and the values."""
    step = WIDTH // _SET
    places = np.arange(0, WIDTH, step, np.int32) + rng.integers(0, step, (rows, _SET), np.int32)
    return places, rng.standard_normal((rows, _SET), np.float32)


def sparse_vectors(places: np.ndarray, values: np.ndarray) -> pa.Table:
    """Return rows as sparse Vectors of `WIDTH`, in the form that Spark stores."""
    size = pa.array(np.full(len(places), WIDTH, np.int32))
    return _stored(0, size, lists(places), values)


def _stored(kind: int, size: pa.Array, indices: pa.Array, values: np.ndarray) -> pa.Table:
    kinds = pa.array(np.full(len(values), kind, np.int8))
    fields = [kinds, size, indices, lists(values.astype(np.float64))]
    names = ["type", "size", "indices", "values"]
    return pa.table({"x": pa.StructArray.from_arrays(fields, names)})


@dataclass(frozen=True)
class Kind:
    """A kind of rows.

    Parameters
    ----------
    title : str
        What a row has.
    rows : int
        How many there are, unless something else is asked for.
    width : int
        The bytes that the values of one row have in a model.
    table : callable
        Makes so many rows.
    """

    title: str
    rows: int
    width: int
    table: Callable[[np.random.Generator, int], pa.Table]

    def columns(self, df: DataFrame) -> list[Any]:
        """Return the `feature_cols` of these rows."""
        return [df.columns] if "stacked" in self.title else df.columns


KINDS = {
    "ints": Kind("3 ints", 10_000_000, 12, _ints),
    "floats": Kind("100 floats", 1_000_000, 4 * WIDTH, _floats),
    "stacked": Kind("100 floats, stacked", 1_000_000, 4 * WIDTH, _floats),
    "vectors": Kind("dense Vector of 100", 1_000_000, 4 * WIDTH, _vectors),
    "sparse": Kind("sparse Vector of 100", 1_000_000, 4 * WIDTH, _sparse),
    "arrays": Kind("100 floats in an array", 1_000_000, 4 * WIDTH, _arrays),
    "pictures": Kind("150,528 bytes", 10_000, PICTURE, _pictures),
    "strings": Kind("string of 8 to 72", 2_000_000, 40, _strings),
}
#: Rows of one group within a file: as many bytes as Spark's own files have.
_GROUP_BYTES = 128 << 20


def written(spark: SparkSession, directory: str, kind: str, rows: int, files: int) -> DataFrame:
    """Return a frame of that many rows of a kind, read from so many files, a partition each."""
    made, path = KINDS[kind], Path(directory) / f"{kind}-{rows}"
    path.mkdir()
    for number in range(files):
        share = (rows + number) // files
        table = made.table(np.random.default_rng(number), share)
        parquet.write_table(
            table,
            path / f"part-{number}.parquet",
            use_dictionary=False,
            row_group_size=max(1, _GROUP_BYTES // made.width),
        )
    # However large the files are, each is one partition.
    spark.conf.set("spark.sql.files.maxPartitionBytes", 1 << 40)
    return read(spark, str(path), is_vector=kind in ("vectors", "sparse"))


def read(spark: SparkSession, path: str, *, is_vector: bool = False) -> DataFrame:
    """Return a frame of files; of Vectors if their column `x` is one."""
    df = spark.read.parquet(path)
    if not is_vector:
        return df
    from pyspark.ml.linalg import VectorUDT

    fields = [T.StructField("x", VectorUDT()), *(f for f in df.schema.fields if f.name != "x")]
    return spark.read.schema(T.StructType(fields)).parquet(path)
