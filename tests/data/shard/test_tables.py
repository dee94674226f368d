"""Frames of pandas as one table: each result is what pandas says of all rows."""

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import types as T

from zoo.orca.data import XShards
from zoo.orca.errors import ColumnError, DataError, InvalidInputError, ShardError

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", autouse=True)
def _session(spark):
    return spark


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "id": range(12),
            "key": [n % 3 for n in range(12)],
            "value": [None if n == 5 else n / 2 for n in range(12)],
            "text": [f"t{n % 4}" for n in range(12)],
        }
    )


@pytest.fixture
def shards(frame):
    return XShards.partition(frame, 4)


def same(shards, expected, by=None):
    got = shards.concat_to_pdf()
    if by is not None:
        got, expected = got.sort_values(by), expected.sort_values(by)
    pd.testing.assert_frame_equal(
        got.reset_index(drop=True), expected.reset_index(drop=True), check_dtype=False
    )


def test_there_and_back(shards, frame):
    df = shards.to_spark_df()
    assert [field.dataType for field in df.schema] == [
        T.LongType(),
        T.LongType(),
        T.DoubleType(),
        T.StringType(),
    ]
    assert [row.id for row in df.collect()] == list(range(12))
    assert df.where("value is null").count() == 1
    pd.testing.assert_frame_equal(df.toPandas(), frame)


def test_times_come_back_as_they_were(spark):
    frame = pd.DataFrame({"t": pd.to_datetime(["2020-07-01 12:00", "2021-01-01 00:30"])})
    shards = XShards.partition(frame, 2)
    pd.testing.assert_frame_equal(shards.to_spark_df().toPandas(), frame)
    same(shards.sort_values("t"), frame)


def test_sorting_grouping_joining(shards, frame):
    same(shards.sort_values(["key", "id"]), frame.sort_values(["key", "id"]))
    same(shards.sort_values("id", ascending=False), frame[::-1])
    means = frame.groupby("key")["id"].sum().reset_index().rename(columns={"id": "sum(id)"})
    same(shards.group_by("key", {"id": "sum"}), means, "key")
    counts = frame.groupby("key").size().reset_index(name="count")
    same(shards.group_by(["key"]), counts, "key")
    both = frame.groupby("key").agg(low=("id", "min"), high=("id", "max")).reset_index()
    both.columns = ["key", "min(id)", "max(id)"]
    same(shards.select(["key", "id"]).group_by("key", ["min", "max"]), both, "key")
    joined = frame.merge(means, on="key")[["key", "id", "value", "text", "sum(id)"]]
    same(shards.group_by("key", {"id": "sum"}, join=True), joined, "id")
    names = pd.DataFrame({"key": [0, 1], "name": ["zero", "one"]})
    other = XShards.partition(names, 1)
    same(
        shards.merge(other, on="key"),
        frame.merge(names, on="key")[["key", "id", "value", "text", "name"]],
        "id",
    )
    left = shards.merge(other, how="left").concat_to_pdf()
    assert left["name"].isna().sum() == 4 and len(left) == 12


def test_counting(shards, frame):
    nulls = shards.get_null_sum()
    assert dict(zip(nulls["col"], nulls["total"], strict=True)) == {
        "id": 0,
        "key": 0,
        "value": 1,
        "text": 0,
    }
    same(shards.drop_missing_value(), frame.drop(columns="value"))
    assert shards.max_values("value") == 5.5
    described = shards.describe("id").set_index("summary")["id"].astype(float)
    assert described["mean"] == frame["id"].mean() and described["count"] == 12
    assert list(shards.describe().columns) == ["summary", *frame.columns]
    twice = XShards.partition(pd.concat([frame, frame], ignore_index=True), 3)
    same(twice.deduplicates(), frame, "id")
    schema = shards.get_schema()
    assert list(schema["columns"]) == list(frame.columns)
    assert dict(schema["dtypes"]) == dict(frame.dtypes)
    assert len(shards.head(2)) == 2 and shards.head()["id"].tolist() == [0, 1, 2]


def test_samples_are_the_same_each_time_and_differ_between_shards(frame):
    shards = XShards.partition(pd.concat([frame] * 10, ignore_index=True), 2)
    some = shards.sample(0.5)
    first, second = some.collect()
    for a, b in zip((first, second), some.collect(), strict=True):
        pd.testing.assert_frame_equal(a, b)
    assert len(first) == 30 and first.index.tolist() != (second.index - 60).tolist()
    one = shards.sample_to_pdf(0.2, random_state=3)
    pd.testing.assert_frame_equal(one, shards.sample_to_pdf(0.2, random_state=3))
    assert len(one) == 24


def test_features_and_labels_as_arrays(shards, frame):
    made = shards.assembleFeatureLabelCols(["id", "key"], "value").collect()
    np.testing.assert_array_equal(
        np.concatenate([one["x"] for one in made]), frame[["id", "key"]].to_numpy()
    )
    assert all(one["y"].ndim == 1 for one in made)
    rows = XShards.partition(np.arange(6), 2).transform_shard(
        lambda shard: [{"x": np.full(2, n), "y": n} for n in shard]
    )
    stacked = rows.stack_feature_labels().collect()
    assert [one["x"].shape for one in stacked] == [(3, 2), (3, 2)]
    assert np.concatenate([one["y"] for one in stacked]).tolist() == list(range(6))
    single = XShards.partition(np.arange(6), 6).transform_shard(lambda a: {"x": a, "y": a[0]})
    stacked = single.stack_feature_labels().collect()
    assert len(stacked) < 6
    assert np.concatenate([one["y"] for one in stacked]).tolist() == list(range(6))
    assert np.concatenate([one["x"] for one in stacked]).shape == (6, 1)
    with pytest.raises(ShardError, match="shard 3: ZeroDivisionError"):
        single.transform_shard(
            lambda one: {"y": 1 / int(3 - one["y"])}
        ).stack_feature_labels().collect()
    with pytest.raises(DataError, match="a row is of type int64, not a dict"):
        XShards.partition(np.arange(4), 2).transform_shard(list).stack_feature_labels().collect()


def test_columns_without_values_in_the_first_shard_get_the_type_of_others():
    frame = pd.DataFrame({"a": [None, None, "x", "y"], "b": [None] * 4})
    df = XShards.partition(frame, 2).to_spark_df()
    assert [one.dataType for one in df.schema] == [T.StringType(), T.StringType()]
    assert [row.a for row in df.collect()] == [None, None, "x", "y"]
    # pandas makes floats of what has no values.
    frame = pd.DataFrame({"t": [None, None, "x", "y"], "n": [1.5, 2, None, None], "m": [None] * 4})
    typed = XShards.partition(frame.astype(object), 2).transform_shard(
        lambda one: one.astype({"m": float}).assign(t=one["t"].fillna(np.nan).infer_objects())
    )
    df = typed.to_spark_df()
    assert [one.dataType for one in df.schema][::2] == [T.StringType(), T.DoubleType()]
    assert [row.t for row in df.collect()] == [None, None, "x", "y"]


def test_shards_without_rows_are_no_hindrance(frame):
    shards = XShards.partition(frame, 4).transform_shard(lambda one: one[one["id"] > 4])
    assert [len(one) for one in shards.collect()] == [0, 1, 3, 3]
    same(shards, frame[frame["id"] > 4])
    assert shards.to_spark_df().count() == 7
    same(shards.sort_values("id"), frame[frame["id"] > 4])


def test_a_table_without_rows_stays_one(frame):
    none = XShards.partition(frame, 2).transform_shard(lambda one: one[:0]).sort_values("id")
    assert none.concat_to_pdf().empty


def test_shards_that_differ_are_named(frame):
    def renamed(one):
        return one if one["id"].iloc[0] < 6 else one.rename(columns={"id": "other"})

    shards = XShards.partition(frame, 2).transform_shard(renamed)
    with pytest.raises(ShardError, match="shard 1: the columns are 'other'"):
        shards.max_values("key")

    def text(one):
        return one if one["id"].iloc[0] < 6 else one.assign(key="a")

    with pytest.raises(ShardError, match="shard 1: column 'key' is string, and int64"):
        XShards.partition(frame, 2).transform_shard(text).deduplicates().collect()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda one: one.sort_values("nix"), "no column 'nix'\nThe frames have the columns 'id'"),
        (lambda one: one.group_by("nix"), "no column 'nix'"),
        (lambda one: one.group_by("key", "average"), "Spark has no function 'average'"),
        (lambda one: one.max_values("nix"), "no column 'nix'"),
        (lambda one: one.merge(3), "merge takes an XShards, got a int"),
        (lambda one: one.select([]), "cols names no column"),
    ],
)
def test_what_is_not_there_is_named(shards, call, said):
    with pytest.raises((InvalidInputError, ColumnError), match=said):
        call(shards)


def test_other_shards_are_no_table():
    shards = XShards.partition(np.arange(4), 2)
    with pytest.raises(DataError, match="shard 0: the shard is a ndarray, not a pandas DataFrame"):
        shards.select("a").collect()
    with pytest.raises(DataError, match="the shard is a ndarray"):
        shards.to_spark_df()


def test_rows_without_a_key_find_their_group(spark):
    frame = pd.DataFrame(
        {"n": range(6), "count": [1.0, 2, 3, 4, 5, 6], "k.1": ["a", None, "a", None, "b", "b"]}
    )
    shards = XShards.partition(frame, 2)
    sums = frame.groupby("k.1", dropna=False)["count"].transform("sum")
    same(
        shards.group_by("k.1", {"count": "sum"}, join=True),
        frame[["k.1", "n", "count"]].assign(**{"sum(count)": sums}),
        "n",
    )


def test_names_with_dots_are_described():
    frame = pd.DataFrame({"a.b": [1, 2, 6], "c": [3, 4, 8]})
    told = XShards.partition(frame, 2).describe(["c", "a.b"])
    assert list(told.columns) == ["summary", "c", "a.b"]
    means = told.set_index("summary").loc["mean"].astype(float)
    assert means.to_dict() == {"a.b": 3.0, "c": 5.0}


def test_other_columns_of_one_name_are_told_apart_as_in_pandas(frame):
    one = frame[["id", "value"]]
    found = XShards.partition(one, 2).merge(XShards.partition(one, 1), on="id").concat_to_pdf()
    expected = one.merge(one, on="id")
    assert list(found.columns) == list(expected.columns) == ["id", "value_x", "value_y"]
    found = found.sort_values("id").reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
