"""Texts of CSV files become what pandas makes of them."""

import numpy as np
import pandas as pd
import pytest

from zoo.orca.data.pandas import read_csv
from zoo.orca.data.pandas.csv_types import MISSING

pytestmark = pytest.mark.timeout(120)

#: Each column is a kind of text. pandas tells its type.
COLUMNS = {
    "whole": ["1", "-2", "+3"],
    "spaced": [" 1 ", "2", "3"],
    "large": ["99999999999999999999", "1", "2"],
    "float": ["1.", ".5", "-2e3"],
    "mixed": ["1", "2.5", "3"],
    "endless": ["inf", "-Infinity", "1"],
    "truth": ["True", "false", "TRUE"],
    "no truth": ["t", "f", "t"],
    "suffix": ["1d", "2f", "3"],
    "under": ["1_000", "2", "3"],
    "hex": ["0x10", "1", "2"],
    "text": ["a", "007", ""],
    "day": ["2020-01-01", "2020-01-02", "2020-01-03"],
    "missing whole": ["1", "NA", "3"],
    "missing float": ["1.5", "nan", ""],
    "missing truth": ["True", "null", "False"],
    "missing text": ["a", "N/A", "b"],
    "none": ["", "NA", "NULL"],
    "no missing": [" NA", "na", "-"],
    "broken": ['"two\nlines"', '"three\n\nlines"', '"one ""quoted"""'],
}


@pytest.fixture(scope="module", autouse=True)
def _session(spark):
    return spark


def written(path, columns):
    rows = [",".join(columns), *(",".join(row) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def same(path, **arguments):
    expected, found = pd.read_csv(path, **arguments), read_csv(path, **arguments).concat_to_pdf()
    found = found.reset_index(drop=True)  # each shard counts its own rows
    for frame in (found, expected):
        for name in frame.select_dtypes("object"):
            frame[name] = pd.Series([None if pd.isna(one) else one for one in frame[name]])
    pd.testing.assert_frame_equal(found, expected)


def test_texts_become_what_pandas_makes_of_them(tmp_path):
    path = written(tmp_path / "table.csv", COLUMNS)
    same(path)
    same(path, dtype={"missing whole": np.float32, "whole": str, "missing text": str})
    same(path, usecols=["whole"])


def test_every_text_that_is_missing_for_pandas(tmp_path):
    texts = list(MISSING)
    same(written(tmp_path / "missing.csv", {"x": texts, "n": ["1"] * len(texts)}))


def test_a_file_is_cut_unless_a_line_ends_within_quotes(tmp_path, spark):
    before = spark.conf.get("spark.sql.files.maxPartitionBytes")
    spark.conf.set("spark.sql.files.maxPartitionBytes", "128b")
    try:
        numbers = {"x": [str(n) for n in range(100)]}
        path = written(tmp_path / "numbers.csv", numbers)
        assert read_csv(path).num_partitions() > 1
        same(path)
        broken = {**numbers, "t": ['"a\nb"'] * 100}
        same(written(tmp_path / "broken.csv", broken))
    finally:
        spark.conf.set("spark.sql.files.maxPartitionBytes", before)
