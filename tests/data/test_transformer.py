"""Transformers: what pandas or numpy says of all rows, in each shard."""

import numpy as np
import pandas as pd
import pytest

from zoo.orca.data import XShards
from zoo.orca.data.transformer import MinMaxScaler, StandardScaler, StringIndex, StringIndexer
from zoo.orca.errors import ColumnError, DataError, InvalidInputError

pytestmark = pytest.mark.timeout(120)

FRAME = pd.DataFrame(
    {
        "city": ["b", "a", "b", "c", None, "a", "b"],
        "n": [3, 1, 5, 9, 2, 4, 4],
        "v": [0.5, None, 1.5, 2.0, 4.0, 1.0, 3.0],
        "one": [2.0] * 7,
    }
)


@pytest.fixture(scope="module")
def shards(spark):
    return XShards.partition(FRAME, 3)


def test_values_get_numbers_by_their_frequency(shards):
    indexer = StringIndexer("city")
    with pytest.raises(InvalidInputError, match="has seen no rows yet\nCall fit_transform"):
        indexer.transform(shards)
    made = indexer.fit_transform(shards).collect()
    assert [one for frame in made for one in frame["city"].fillna(0)] == [1, 2, 1, 3, 0, 2, 1]
    assert indexer.index.to_dict() == {"b": 1, "a": 2, "c": 3}
    other = XShards.partition(pd.DataFrame({"city": ["c", "z"]}), 1)
    assert indexer.transform(other).first()["city"].fillna(-1).tolist() == [3, -1]


def test_an_index_is_made_of_rows_or_a_dict(spark):
    index = StringIndex.from_dict({"x": 1, "y": 2}, "name")
    assert (index.to_dict(), index.col_name) == ({"x": 1, "y": 2}, "name")
    rows = pd.DataFrame({"name": ["x"], "id": [4]})
    assert StringIndex(rows, "name").to_dict() == {"x": 4}
    assert StringIndex(XShards.partition(rows, 1), "name").to_dict() == {"x": 4}
    with pytest.raises(ColumnError, match="no column 'id'"):
        StringIndex(rows[["name"]], "name")


def test_columns_between_a_smallest_and_a_largest_value(shards):
    scaler = MinMaxScaler(min=-1.0, max=1.0, inputCol=["n", "one"], outputCol="scaled")
    found = np.stack(
        [cell for frame in scaler.fit_transform(shards).collect() for cell in frame.scaled]
    )
    n = FRAME["n"].to_numpy()
    np.testing.assert_allclose(found[:, 0], (n - 1) / 8 * 2 - 1)
    np.testing.assert_array_equal(found[:, 1], np.zeros(7))
    more = scaler.transform(XShards.partition(pd.DataFrame({"n": [17], "one": [2.0]}), 1)).first()
    assert more["scaled"][0].tolist() == [3.0, 0.0]


@pytest.mark.parametrize(("mean", "deviation"), [(True, True), (False, True), (True, False)])
def test_columns_by_their_standard_deviation(shards, mean, deviation):
    scaler = StandardScaler(mean, deviation, inputCol="v")
    found = scaler.fit_transform(shards).concat_to_pdf()["v"]
    expected = FRAME["v"] - (FRAME["v"].mean() if mean else 0)
    expected = expected / (FRAME["v"].std() if deviation else 1)
    np.testing.assert_allclose(found, expected)
    flat = StandardScaler(inputCol="one", outputCol="flat").fit_transform(shards).first()
    assert flat["flat"].tolist() == [0.0] * len(flat) and flat["one"].tolist() == [2.0] * len(flat)


def test_scaled_columns_are_columns_of_spark(shards):
    made = MinMaxScaler(inputCol=["n", "v"], outputCol="scaled").fit_transform(shards)
    row = made.to_spark_df().orderBy("n").first()
    assert row["n"] == 1 and row["scaled"][0] == 0.0


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: MinMaxScaler(), InvalidInputError, "MinMaxScaler needs inputCol"),
        (lambda: StandardScaler(inputCol=["a", "b"]), InvalidInputError, "needs a name"),
        (lambda: MinMaxScaler(2, 1, "a"), InvalidInputError, "min=2 is not below max=1"),
        (lambda: StringIndexer("a").fit_transform(FRAME), InvalidInputError, "got a DataFrame"),
    ],
)
def test_what_a_transformer_lacks_is_named(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_what_rows_lack_is_named(shards):
    with pytest.raises(ColumnError, match="inputCol: there is no column 'nix'"):
        StandardScaler(inputCol="nix").fit_transform(shards)
    with pytest.raises(DataError, match="column 'city' has no numbers to scale by: 'a'"):
        MinMaxScaler(inputCol="city").fit_transform(shards)
