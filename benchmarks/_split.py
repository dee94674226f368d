"""Ratings split into rows to train on and rows to test with."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

COLUMNS = ["user", "item", "label"]


def save(table: pa.Table, directory: Path, seed: int) -> tuple[int, int]:
    """Split ratings 80 to 20 at random and write train.parquet and test.parquet; return counts."""
    order = np.random.default_rng(seed).permutation(table.num_rows)
    label = pa.array(table["rating"].to_numpy() - 1)
    table = pa.table([table["user"], table["item"], label], names=COLUMNS)
    cut = 8 * table.num_rows // 10
    parquet.write_table(table.take(order[:cut]), directory / "train.parquet")
    parquet.write_table(table.take(order[cut:]), directory / "test.parquet")
    return cut, table.num_rows - cut
