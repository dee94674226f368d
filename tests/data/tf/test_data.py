"""Functions on elements: what tf.data itself makes of all of them."""

import numpy as np
import pytest

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.data import XShards
from zoo.orca.data.tf.data import Dataset
from zoo.orca.errors import InvalidInputError, OrcaError

tensorflow = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.timeout(180)

X, Y = np.arange(20, dtype=np.float32) / 20, np.arange(20, dtype=np.float32) / 10


@pytest.fixture(scope="module", autouse=True)
def _session(spark):
    return spark


def halved(x, y):
    return x / 2, y


def test_elements_are_mapped_as_by_tensorflow():
    shards = XShards.partition((X, Y), 3)
    dataset = Dataset.from_tensor_slices(shards).map(halved).map(lambda x, y: (x + y, y * y))
    found = dataset.get_xshards().collect()
    whole = tensorflow.data.Dataset.from_tensor_slices((X, Y)).map(halved)
    expected = list(whole.map(lambda x, y: (x + y, y * y)).as_numpy_iterator())
    np.testing.assert_array_equal(
        np.concatenate([one["x"] for one in found]), [x for x, _ in expected]
    )
    np.testing.assert_array_equal(
        np.concatenate([one["y"] for one in found]), [y for _, y in expected]
    )
    assert found[0]["x"].dtype == np.float32


def test_an_estimator_trains_on_them():
    estimator, other = FakeEstimator.of(linear()), FakeEstimator.of(linear())
    dataset = Dataset.from_tensor_slices(XShards.partition({"x": X, "y": Y}, 2))
    dataset = dataset.map(lambda one: {"x": one["x"] / 2, "y": one["y"]})
    estimator.fit(dataset, None, labels=None)
    other.fit({"x": X / 2, "y": Y}, None, labels=None)
    np.testing.assert_allclose(estimator.weights, other.weights, rtol=1e-6)


def test_shards_without_elements_keep_their_types():
    shards = XShards.partition((X, Y), 2).transform_shard(lambda one: (one[0][:0], one[1][:0]))
    found = Dataset.from_tensor_slices(shards).map(halved).get_xshards().first()
    assert found["x"].shape == (0,) and found["x"].dtype == np.float32


def test_what_is_no_element_is_named():
    with pytest.raises(InvalidInputError, match="from_tensor_slices takes an XShards, got a list"):
        Dataset.from_tensor_slices([1])
    shards = XShards.partition(X, 2)
    with pytest.raises(InvalidInputError, match="map takes a function, got 3"):
        Dataset.from_tensor_slices(shards).map(3)
    texts = Dataset.from_tensor_slices(shards.transform_shard(str)).map(lambda x: x)
    with pytest.raises(OrcaError, match="shard 0: the shard is a str without a common number"):
        texts.get_xshards().collect()
    triples = Dataset.from_tensor_slices(XShards.partition((X, X, Y), 2))
    with pytest.raises(OrcaError, match="an element has 3 parts"):
        triples.get_xshards().collect()
