"""Where a DataFrame's rows come from."""

import pytest

from zoo.orca.mlflow.datasets import source_of


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], None),
        (["file:///d/t/part-0.parquet", "file:///d/t/part-1.parquet"], "file:///d/t"),
        (["file:///d/t/part-0.parquet"], "file:///d/t"),
        (["s3://b/t/day=1/part-0", "s3://b/t/day=2/part-0", "s3://b/t/day=2/x=3/p"], "s3://b/t"),
        (["file:///d/rows.csv"], "file:///d/rows.csv"),
        (["file:///d/a/part-0", "file:///d/b/part-0"], None),
    ],
)
def test_files_of_one_source_have_its_name(files, expected):
    assert source_of(files) == expected
