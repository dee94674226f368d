"""Files as frames: what comes of them is what pandas reads, by either backend."""

import gzip

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import types as T

from zoo.orca import OrcaContext
from zoo.orca.data.pandas import read_csv, read_json, read_parquet
from zoo.orca.errors import ColumnError, InvalidInputError, OrcaError

pytestmark = pytest.mark.timeout(120)

TEXT = """id,price,name,flag,day
1,1.5,"says ""no"", twice",True,2020-01-01
2,,plain,False,2020-01-02
3,2.25,007,True,2020-01-03
"""
PLAIN = """1;a;2.5
2;b;3.5
"""


@pytest.fixture(scope="module", autouse=True)
def _session(spark):
    return spark


@pytest.fixture(params=["spark", "pandas"])
def backend(request):
    OrcaContext.pandas_read_backend = request.param
    yield request.param
    OrcaContext.pandas_read_backend = "spark"


@pytest.fixture
def by_pandas():
    OrcaContext.pandas_read_backend = "pandas"
    yield
    OrcaContext.pandas_read_backend = "spark"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text(PLAIN)
    return str(path)


ARGUMENTS = [
    {},
    {"usecols": ["name", "id"]},
    {"usecols": [0, 2], "dtype": {"name": str}},
    {"usecols": lambda name: name != "flag"},
    {"index_col": "id"},
    {"index_col": 0, "usecols": ["id", "price"]},
    {"header": 0, "names": ["a", "b", "c", "d", "e"]},
    {"dtype": {"id": np.float32, "flag": bool, "name": "category"}},
    {"dtype": str},
    {"parse_dates": False},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=[" ".join(one) for one in ARGUMENTS])
def test_csv_is_as_pandas_reads_it(backend, table, arguments):
    expected = pd.read_csv(table, **arguments)
    found = read_csv(table, **arguments).collect()
    assert len(found) == 1
    # Texts that are missing: None of Spark, NaN of pandas.
    for frame in (found[0], expected):
        for name in frame.select_dtypes("object"):
            frame[name] = pd.Series([None if pd.isna(one) else one for one in frame[name]])
    pd.testing.assert_frame_equal(found[0], expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"sep": ";", "header": None},
        {"delimiter": ";", "names": ["n", "t", "f"]},
        {"sep": ";", "header": None, "index_col": 1},
        {"sep": ";", "header": None, "dtype": {0: str}},
    ],
)
def test_csv_without_a_header(backend, plain, arguments):
    expected = pd.read_csv(plain, **arguments)
    pd.testing.assert_frame_equal(read_csv(plain, **arguments).first(), expected)


def test_a_single_column_is_a_series_if_asked_for(table):
    found = read_csv(table, usecols=["price"], squeeze=True).first()
    pd.testing.assert_series_equal(found, pd.read_csv(table)["price"])


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"nrows": 3}, InvalidInputError, "does not know nrows; it takes sep, delimiter"),
        ({"parse_dates": ["day"]}, InvalidInputError, "does not know parse_dates="),
        ({"header": 3}, InvalidInputError, "header=3: it takes 0 or None"),
        ({"sep": "::"}, InvalidInputError, "sep='::': it takes one character"),
        ({"usecols": ["nix"]}, ColumnError, "usecols: there is no column 'nix'\n.*'id', 'price'"),
        ({"dtype": {"nix": int}}, ColumnError, "dtype: there is no column 'nix'"),
        ({"usecols": ["price"], "index_col": "id"}, ColumnError, "usecols leaves out 'id'"),
        ({"names": ["a"], "header": 0}, ColumnError, "names has 1 names, and the files have 5"),
    ],
)
def test_what_spark_cannot_follow_is_refused_and_the_way_out_works(table, arguments, error, said):
    with pytest.raises(error, match=said):
        read_csv(table, **arguments)


def test_the_other_backend_knows_all_of_pandas_arguments(table, by_pandas):
    found = read_csv(table, parse_dates=["day"], nrows=2).first()
    pd.testing.assert_frame_equal(found, pd.read_csv(table, parse_dates=["day"], nrows=2))
    with pytest.raises(InvalidInputError, match="chunksize makes an iterator"):
        read_csv(table, chunksize=2)
    with pytest.raises(OrcaError, match="shard 0: pandas.read_csv cannot read .*'nix'"):
        read_csv(table, usecols=["nix"]).collect()


def test_a_type_that_does_not_fit_is_an_error(backend, table):
    with pytest.raises(OrcaError, match="shard 0: "):
        read_csv(table, dtype={"price": np.int64}).collect()
    with pytest.raises(OrcaError, match="shard 0: "):
        read_csv(table, dtype={"name": bool}).collect()


def test_several_files_and_their_groups(tmp_path, by_pandas):
    for number in range(6):
        frame = pd.DataFrame({"a": [number, number + 0.5]})
        with gzip.open(tmp_path / f"{number}.csv.gz", "wt") as file:
            frame.to_csv(file, index=False)
    expected = [n / 2 for n in range(12)]
    for paths in (str(tmp_path), str(tmp_path / "*.csv.gz"), sorted(map(str, tmp_path.iterdir()))):
        shards = read_csv(paths)
        assert shards.num_partitions() == 4
        assert [len(one) for one in shards.collect()] == [4, 4, 2, 2]
        assert shards.concat_to_pdf()["a"].tolist() == expected


@pytest.mark.classic("a server has a directory of its own")
def test_relative_paths_are_from_where_the_program_is(table, tmp_path, monkeypatch, backend):
    here = tmp_path / "a place #1"
    here.mkdir()
    (tmp_path / "table.csv").rename(here / "table.csv")
    monkeypatch.chdir(here)
    assert read_csv("table.csv").first()["id"].tolist() == [1, 2, 3]


def test_shards_of_so_many_rows(tmp_path):
    path = tmp_path / "long.csv"
    pd.DataFrame({"a": range(25)}).to_csv(path, index=False)
    OrcaContext.shard_size = 10
    try:
        shards = read_csv(str(path))
    finally:
        OrcaContext.shard_size = None
    assert [len(one) for one in shards.collect()] == [10, 10, 5]
    assert shards.concat_to_pdf()["a"].tolist() == list(range(25))
    assert shards.num_partitions() == 3


def test_json(tmp_path, backend):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, 2.5]})
    path = str(tmp_path / "rows.json")
    frame.to_json(path, orient="records")
    pd.testing.assert_frame_equal(read_json(path).first(), frame)
    frame.to_json(path, orient="records", lines=True)
    pd.testing.assert_frame_equal(read_json(path, lines=True).first(), frame)


def test_json_by_spark_takes_few_arguments(tmp_path):
    with pytest.raises(InvalidInputError, match="read_json by Spark does not know this nrows"):
        read_json(str(tmp_path), nrows=2)


def test_parquet(tmp_path, backend):
    frame = pd.DataFrame(
        {
            "a.b": [1, 2, 3],
            "t": pd.to_datetime(["2020-07-01 10:00", "2021-01-01 00:30", None]),
            "l": [[1], [2, 3], []],
        }
    )
    path = str(tmp_path / "rows.parquet")
    frame.to_parquet(path, coerce_timestamps="us")  # Spark does not read nanoseconds
    found = read_parquet(path).first()
    assert list(found.columns) == ["a.b", "t", "l"]
    pd.testing.assert_series_equal(found["a.b"], frame["a.b"])
    assert [list(one) for one in found["l"]] == [[1], [2, 3], []]
    some = read_parquet(path, columns=["l", "a.b"]).first()
    assert list(some.columns) == ["l", "a.b"]


def test_parquet_with_a_schema(tmp_path):
    path = str(tmp_path / "rows.parquet")
    pd.DataFrame({"a": [1, 2]}).to_parquet(path)
    schema = T.StructType([T.StructField("a", T.LongType()), T.StructField("more", T.StringType())])
    found = read_parquet(path, schema=schema).first()
    assert found["more"].tolist() == [None, None]
    with pytest.raises(ColumnError, match="columns: there is no column 'nix'"):
        read_parquet(path, columns=["nix"])
    OrcaContext.pandas_read_backend = "pandas"
    try:
        with pytest.raises(InvalidInputError, match="schema is Spark's"):
            read_parquet(path, schema=schema)
    finally:
        OrcaContext.pandas_read_backend = "spark"


def test_files_that_are_not_there(tmp_path, backend):
    with pytest.raises(OrcaError, match="there is no file .*nowhere.csv"):
        read_csv(str(tmp_path / "nowhere.csv")).collect()
    with pytest.raises(InvalidInputError, match="no file matches"):
        read_csv(str(tmp_path / "*.nix"))
    with pytest.raises(InvalidInputError, match="file_path names no file"):
        read_csv([])
