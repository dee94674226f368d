"""XShards through Spark: order, laziness, and one error for a function that fails."""

import threading

import numpy as np
import pandas as pd
import pytest

from zoo.orca import OrcaContext
from zoo.orca.data import SharedValue, XShards
from zoo.orca.errors import CreatorError, InvalidInputError, OrcaError, ShardError

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", autouse=True)
def _session(spark):
    return spark


@pytest.fixture
def numbers():
    return XShards.partition(np.arange(10), 4)


def counted(shard, log):
    """Leaves a line in a file whenever it is called."""
    with open(log, "a") as file:
        file.write("x")
    return shard


def fails_on_two(shard):
    return 1 / int(2 - shard[0])


@pytest.mark.parametrize(
    "data",
    [
        np.arange(22).reshape(11, 2),
        [np.arange(11), np.ones((11, 2))],
        (np.arange(11), np.ones(11)),
        {"x": (np.arange(11), np.ones(11)), "y": np.zeros(11, np.int8)},
    ],
    ids=["array", "list", "tuple", "dict"],
)
def test_parts_have_the_structure_and_order_of_the_whole(data):
    shards = XShards.partition(data, 3)
    parts = shards.collect()
    assert shards.num_partitions() == len(parts) == 3
    assert all(type(part) is type(data) for part in parts)

    def joined(whole, pieces):
        if isinstance(whole, dict):
            return {key: joined(whole[key], [one[key] for one in pieces]) for key in whole}
        if isinstance(whole, (list, tuple)):
            return type(whole)(
                joined(one, [piece[place] for piece in pieces]) for place, one in enumerate(whole)
            )
        return np.concatenate(pieces)

    np.testing.assert_equal(joined(data, parts), data)


@pytest.mark.parametrize(
    ("data", "count", "said"),
    [
        ([np.arange(3), np.arange(4)], 2, r"data\[0\] has 3 rows, data\[1\] has 4 rows"),
        (np.arange(3), 4, "3 rows cannot make 4 shards\nWrite num_shards=3, or less"),
        ({"x": 3}, 2, r"data\['x'\] is a int, not an array with rows"),
        ([], 2, "data has no array in it"),
        (np.arange(3), 0, "num_shards must be a whole number from 1, got 0"),
    ],
)
def test_what_cannot_be_divided_is_refused(data, count, said):
    with pytest.raises(InvalidInputError, match=said):
        XShards.partition(data, count)


def test_functions_follow_each_other_and_get_their_arguments(numbers):
    table = SharedValue(np.arange(10) * 2)
    made = numbers.transform_shard(lambda shard, shift: shard + shift, 100)
    made = made.transform_shard(lambda shard: table.value[shard - 100])
    assert np.concatenate(made.collect()).tolist() == list(range(0, 20, 2))
    assert np.concatenate(numbers.collect()).tolist() == list(range(10))
    assert len(made) == 10


def test_nothing_is_computed_before_it_is_needed_and_kept_shards_only_once(numbers, tmp_path):
    log = tmp_path / "log"
    made = numbers.transform_shard(counted, str(log))
    assert not log.exists() and not made.is_cached()
    made.cache()
    assert made.is_cached() and log.read_text() == "xxxx"
    other = made.transform_shard(lambda shard: -shard)
    assert np.concatenate(other.collect()).tolist() == [-n for n in range(10)]
    assert (len(made), log.read_text()) == (10, "xxxx")
    made.uncache()
    assert not made.is_cached()
    made.collect()
    assert log.read_text() == "xxxxxxxx"


def test_eager_mode_computes_at_once(numbers, tmp_path):
    log = tmp_path / "log"
    OrcaContext._eager_mode = True
    try:
        made = numbers.transform_shard(counted, str(log))
        assert log.read_text() == "xxxx" and made.is_cached()
        other = made.transform_shard(lambda shard: shard)
        assert other.is_cached() and not made.is_cached()
        with pytest.raises(ShardError, match="shard 1: ZeroDivisionError"):
            XShards.partition(np.array([1, 2, 3]), 3).transform_shard(fails_on_two)
        with XShards.lazy(numbers) as lazy:
            assert not lazy.transform_shard(counted, str(log)).is_cached()
    finally:
        OrcaContext._eager_mode = False
    assert log.read_text() == "xxxx"


def test_first_and_take_compute_no_more_than_they_need(spark, tmp_path):
    log = tmp_path / "log"
    shards = XShards.partition(np.arange(12), 12).transform_shard(counted, str(log))
    assert shards.first().tolist() == [0]
    assert len(log.read_text()) < 12
    assert np.concatenate(shards.take(5)).tolist() == list(range(5))
    assert shards.head(1).tolist() == [0]


ACTIONS = {
    "collect": lambda shards, path: shards.collect(),
    "len": lambda shards, path: len(shards),
    "compute": lambda shards, path: shards.compute(),
    "save_pickle": lambda shards, path: shards.save_pickle(path),
    "zip": lambda shards, path: shards.zip(shards),
    "repartition": lambda shards, path: shards.repartition(2),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_function_that_fails_is_one_error_with_the_shard_and_the_users_frames(action, tmp_path):
    failing = XShards.partition(np.array([1, 2, 3]), 3).transform_shard(fails_on_two)
    later = failing.transform_shard(lambda number: [number])
    with pytest.raises(ShardError) as caught:
        ACTIONS[action](later, str(tmp_path / "saved"))
    lines = str(caught.value).splitlines()
    assert lines[0] == "shard 1: ZeroDivisionError: division by zero"
    assert __file__ in lines[1] and "in fails_on_two" in lines[1]
    assert lines[2].strip() == "return 1 / int(2 - shard[0])"
    assert len(lines) == 3 and caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_missing_module_is_named(numbers):
    def asks(shard):
        import nowhere_to_be_found  # noqa: F401

    with pytest.raises(OrcaError, match="nowhere_to_be_found"):
        numbers.transform_shard(asks).collect()


def test_what_cannot_travel_is_refused_before_anything_runs(numbers):
    lock = threading.Lock()
    with pytest.raises(CreatorError, match="func cannot be sent to the workers.*'lock'"):
        numbers.transform_shard(lambda shard: lock)
    with pytest.raises(InvalidInputError, match="transform_shard takes a function, got 3"):
        numbers.transform_shard(3)
    with pytest.raises(InvalidInputError, match="an XShards cannot be made of a list"):
        XShards([1])


def test_a_result_that_cannot_be_pickled_is_an_error_of_its_shard(numbers):
    with pytest.raises(OrcaError, match="shard 0: the shard, of type lock, cannot be pickled"):
        numbers.transform_shard(lambda shard: threading.Lock()).collect()


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_rows_are_spread_evenly_and_stay_in_order(count):
    frame = pd.DataFrame({"a": range(11), "b": [f"t{n}" for n in range(11)]})
    for data in (np.arange(11), {"x": np.arange(11), "y": np.ones((11, 2))}, frame):
        shards = XShards.partition(data, 4).repartition(count)
        assert shards.num_partitions() == count
        expected = XShards.partition(data, count).collect()
        for got, wanted in zip(shards.collect(), expected, strict=True):
            if isinstance(data, pd.DataFrame):
                pd.testing.assert_frame_equal(got.reset_index(drop=True), wanted)
            else:
                np.testing.assert_equal(got, wanted)


def test_more_shards_than_rows_are_empty_ones(numbers):
    made = numbers.repartition(12).collect()
    assert [len(one) for one in made] == [1] * 10 + [0, 0]
    assert made[-1].dtype == made[0].dtype


def test_other_shards_stay_whole_and_in_order(numbers):
    words = numbers.transform_shard(lambda shard: f"from {shard[0]}")
    for count in (2, 6):
        spread = words.repartition(count)
        assert spread.num_partitions() == count
        assert spread.collect() == ["from 0", "from 3", "from 6", "from 8"]
        assert spread.transform_shard(str.upper).first() == "FROM 0"


def test_pairs_and_their_parts(numbers):
    other = XShards.partition(np.arange(100, 108), 2).repartition(4)
    pairs = numbers.zip(other)
    assert [(a.tolist(), b.tolist()) for a, b in pairs.collect()] == [
        ([0, 1, 2], [100, 101]),
        ([3, 4, 5], [102, 103]),
        ([6, 7], [104, 105]),
        ([8, 9], [106, 107]),
    ]
    first, second = pairs.split()
    np.testing.assert_equal(first.collect(), numbers.collect())
    np.testing.assert_equal(second.collect(), other.collect())
    assert numbers.split()[0] is numbers
    with pytest.raises(InvalidInputError, match="here are 4, there 2"):
        numbers.zip(XShards.partition(np.arange(4), 2))
    with pytest.raises(InvalidInputError, match="lists of one length; these have 2, 3"):
        numbers.transform_shard(list).split()


def test_shards_of_other_indexes_are_paired_by_their_place(spark, numbers):
    OrcaContext.shard_size = 2
    try:
        rows = XShards.partition(pd.DataFrame({"n": range(8)}), 2).sort_values("n")
    finally:
        OrcaContext.shard_size = None
    assert [len(frame) for frame in rows.collect()] == [2] * 4
    pairs = numbers.zip(rows).collect()
    assert [frame["n"].tolist() for _, frame in pairs] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(ShardError, match="shard 0 of partition 0: ZeroDivisionError"):
        rows.transform_shard(lambda frame: 1 / 0).collect()


def test_items_and_unique_values():
    frame = pd.DataFrame({"a": [2, 1, 2, 3], "b": list("xyxz")})
    shards = XShards.partition(frame, 2)
    assert shards["a"].unique().tolist() == [2, 1, 3]
    assert shards["b"].unique().tolist() == ["x", "y", "z"]
    parts = XShards.partition({"x": np.arange(4), "y": np.ones(4)}, 2)
    assert np.concatenate(parts["x"].collect()).tolist() == [0, 1, 2, 3]
    with pytest.raises(OrcaError, match="is a DataFrame, not a Series"):
        shards.unique()
    with pytest.raises(ShardError, match="shard 0: KeyError: 'c'"):
        shards["c"].collect()
    with pytest.raises(TypeError):
        iter(shards)


def test_equal_values_are_in_one_shard_and_rows_in_order():
    frame = pd.DataFrame({"k": [n % 5 for n in range(40)], "n": range(40)})
    parts = XShards.partition(frame, 4).partition_by("k", num_partitions=3)
    assert parts.num_partitions() == 3
    made = parts.collect()
    keys = [set(one["k"]) for one in made]
    assert sum(map(len, keys)) == 5 and set().union(*keys) == set(range(5))
    assert all(one["n"].is_monotonic_increasing for one in made)
    assert sorted(pd.concat(made)["n"]) == list(range(40))
    with pytest.raises(InvalidInputError, match="takes the name of one column"):
        XShards.partition(frame, 4).partition_by(["k", "n"])


@pytest.mark.classic("a server has a directory of its own")
def test_saved_shards_are_the_same(tmp_path, monkeypatch, numbers):
    monkeypatch.chdir(tmp_path)  # Spark's processes stay where they are
    mixed = numbers.transform_shard(lambda a: pd.DataFrame({"a": a}) if a[0] else {"a": a})
    assert mixed.save_pickle("saved") is mixed
    assert (tmp_path / "saved").is_dir()
    loaded = XShards.load_pickle("saved").collect()
    assert [type(one) for one in loaded] == [dict, *[pd.DataFrame] * 3]
    np.testing.assert_array_equal(
        np.concatenate([np.asarray(one["a"]) for one in loaded]), np.arange(10)
    )


@pytest.mark.classic("only there are RDDs")
def test_elements_of_an_rdd_are_shards(spark):
    rdd = spark.sparkContext.parallelize(range(7), 3)
    shards = XShards(rdd).transform_shard(lambda number: number * 2)
    assert shards.collect() == list(range(0, 14, 2))
    with XShards.lazy(rdd) as lazy:
        assert lazy.first() == 0


def test_loaded_shards_are_in_their_order_whatever_their_sizes(tmp_path):
    # Spark reads the largest files first.
    lengths = [1, 300, 40_000, 2]

    def of_length(shard):
        place = int(shard[0])
        return pd.DataFrame({"n": np.arange(lengths[place]) * 4 + place})

    path = str(tmp_path / "shards")
    XShards.partition(np.arange(4), 4).transform_shard(of_length).save_pickle(path)
    loaded = XShards.load_pickle(path)
    assert len(loaded.first()) == 1 and list(map(len, loaded.take(3))) == lengths[:3]
    assert list(map(len, loaded.collect())) == lengths and loaded.num_partitions() == 4
    rows = loaded.to_spark_df().toPandas()
    pd.testing.assert_frame_equal(rows, loaded.concat_to_pdf().reset_index(drop=True))


def test_files_that_hold_no_shards_are_refused(spark, tmp_path):
    path = str(tmp_path / "rows")
    spark.range(3).write.parquet(path)
    with pytest.raises(InvalidInputError, match="has no shards, but the columns 'id'\nName a"):
        XShards.load_pickle(path)
