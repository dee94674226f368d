"""What TensorFlow makes of the buffer in which sums come back, whatever the shapes and dtypes."""

import numpy as np
import pytest

from tests.frameworks.ranks import Ranks

pytestmark = pytest.mark.timeout(300)

SHAPES = [(3, 5), (), (16,), (7,), (2, 2, 4), (0, 3)]
TABLES = [((50, 16), [3, 3, 49]), ((9, 3), [0]), ((20, 5), []), ((6, 2), [1, 2, 3, 4, 5, 1, 0])]


def sums(dtypes, in_graph):
    """Gradients of three of four rows, and what comes back; the other rank's are the same."""
    import tensorflow as tf

    from zoo.orca.frameworks.gradients.fused_sum import FusedSum
    from zoo.orca.frameworks.keras.backends.tensorflow_exchange import exchanged

    class Twice:
        rank, size = 0, 2

        def all_reduce(self, array):
            array *= 2

        def all_gather(self, data, merge=None):
            return [data, data]

    random = np.random.default_rng(0)
    given, variables = [], []
    for dtype in dtypes:
        for shape in SHAPES:
            given.append(tf.constant(random.normal(size=shape), dtype))
            variables.append(tf.zeros(shape, dtype))
        for shape, rows in TABLES:
            values = tf.constant(random.normal(size=(len(rows), *shape[1:])), dtype)
            given.append(tf.IndexedSlices(values, tf.constant(rows, tf.int32), shape))
            variables.append(tf.zeros(shape, dtype))
    given.insert(2, None)
    variables.insert(2, tf.zeros(1))
    rows, of = tf.constant(3, tf.int64), tf.constant(4, tf.int64)

    def step():
        return exchanged(
            given, variables, rows, of, {}, lambda s: FusedSum(Twice(), s, keep_rows=False),
            lambda call: call,
        )  # fmt: skip

    found = (tf.function(step) if in_graph else step)()
    pairs = []
    for one, two in zip(given, found, strict=True):
        if one is None:
            assert two is None
            continue
        assert type(one) is type(two) and one.dtype == two.dtype
        if isinstance(one, tf.IndexedSlices):
            assert two.indices.dtype == tf.int32
        pairs.append([tf.convert_to_tensor(tf.cast(x, tf.float64)).numpy() for x in (one, two)])
    return pairs


@pytest.mark.parametrize("in_graph", [True, False])
@pytest.mark.parametrize("dtypes", [["float32"], ["float64", "float32"], ["float16", "float32"]])
def test_each_gradient_is_the_sum_in_its_own_shape(ranks: Ranks, dtypes, in_graph):
    for one, two in ranks.alone(sums, dtypes, in_graph):
        assert one.shape == two.shape
        np.testing.assert_allclose(two, 1.5 * one, 2e-3 if "float16" in dtypes else 1e-6, 1e-6)
