"""Sums and means of nests over all workers: equal to numpy's."""

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

from tests.frameworks.own.workers import on_workers
from zoo.orca.errors import WorkerError

pytestmark = pytest.mark.timeout(60)

Point = namedtuple("Point", "x y")


def tree(rank: int) -> dict[str, Any]:
    made = np.random.default_rng(rank)
    return {
        "w": made.standard_normal((2, 3)).astype(np.float32),
        "nest": [made.standard_normal(4), (1 + rank, 0.5 * rank), None, Point(np.int8(rank), 2.0)],
        "half": made.standard_normal(5).astype(np.float16),
        "truth": np.array([True, rank == 0]),
        "empty": np.zeros((0, 2), np.float32),
        3: np.arange(3, dtype=np.uint8) + rank,
        "turned": made.standard_normal((3, 2)).T,
    }


@pytest.mark.parametrize("size", [1, 2, 3])
def test_sums_are_those_of_numpy(size: int) -> None:
    trees = [tree(rank) for rank in range(size)]
    # The order of names may differ between workers.
    given = [dict(reversed(one.items())) if rank else one for rank, one in enumerate(trees)]
    for rank, found in enumerate(on_workers(size, lambda w: w.all_reduce(given[w.rank]))):
        assert list(found) == list(given[rank])
        for name in ("w", "half", 3, "turned", "empty"):
            one = trees[0][name]
            total = np.sum([t[name].astype(np.float64) for t in trees], axis=0)
            np.testing.assert_allclose(found[name], total, rtol=2e-3 if name == "half" else 1e-6)
            assert found[name].dtype == one.dtype and found[name].shape == one.shape
        np.testing.assert_array_equal(found["truth"], [size, 1])
        floats, numbers, nothing, point = found["nest"]
        np.testing.assert_allclose(floats, np.sum([t["nest"][0] for t in trees], axis=0))
        assert numbers == (sum(range(1, size + 1)), 0.5 * sum(range(size)))
        assert nothing is None
        assert point == Point(sum(range(size)), 2.0 * size) and isinstance(point, Point)
        assert isinstance(numbers[0], int) and isinstance(numbers[1], float)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_means_count_by_weight_and_a_weight_of_zero_counts_nothing(size: int) -> None:
    values, weights = [0.5, np.nan, 2.0][:size], [3, 0, 2][:size]

    def mean(worker: Any) -> Any:
        own = {"a": np.full(2, values[worker.rank], np.float32), "n": worker.rank}
        return worker.all_reduce(own, weight=weights[worker.rank])

    kept = [(v, w, r) for r, (v, w) in enumerate(zip(values, weights, strict=True)) if w]
    total = sum(w for _, w, _ in kept)
    for found in on_workers(size, mean):
        np.testing.assert_allclose(found["a"], sum(v * w for v, w, _ in kept) / total, rtol=1e-6)
        assert found["a"].dtype == np.float32
        assert found["n"] == pytest.approx(sum(r * w for _, w, r in kept) / total)


def test_the_argument_stays_as_it_is() -> None:
    def both(worker: Any) -> Any:
        own = np.ones(3)
        found = worker.all_reduce(OrderedDict(a=own))["a"]
        found += 1
        return own, found

    for own, found in on_workers(2, both):
        np.testing.assert_array_equal(own, np.ones(3))
        np.testing.assert_array_equal(found, np.full(3, 3.0))


def test_sums_that_do_not_fit_are_refused() -> None:
    errors = on_workers(2, lambda worker: worker.all_reduce({"x": np.full(2, 100, np.int8)}))
    assert all("the sum of ['x'] is more than int8 holds" in str(one) for one in errors)
    # The way out.
    found = on_workers(
        2, lambda worker: worker.all_reduce(np.full(2, 100, np.int8).astype("int64"))
    )
    np.testing.assert_array_equal(found[0], [200, 200])


def test_a_mean_of_no_weight_is_refused_everywhere() -> None:
    errors = on_workers(2, lambda worker: worker.all_reduce(1.0, weight=0))
    assert all("weights of all ranks are 0" in str(one) for one in errors)


@pytest.mark.parametrize("value", ["text", [1, {2}], np.array(["a"]), object()])
def test_what_is_no_number_is_named(value: Any) -> None:
    (error,) = on_workers(1, lambda worker: worker.all_reduce({"a": value}))
    assert isinstance(error, WorkerError)
    assert str(error).startswith("all_reduce: ") and "is no number" in str(error)
    assert "['a']" in str(error)


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_whole_numbers_of_64_bits_are_exact_and_never_wrap_around(kind: Any) -> None:
    limits = np.iinfo(kind)
    parts = [[limits.max - 5, limits.min, 7, 1 << 40], [5, 0, 0, 1 << 40]]
    if limits.min:
        parts[1][2] = -9
    given = [np.array(part, kind) for part in parts]
    for found in on_workers(2, lambda worker: worker.all_reduce(given[worker.rank])):
        assert found.tolist() == [a + b for a, b in zip(*parts, strict=True)]
        assert found.dtype == kind
    large = [np.array([limits.max - 5], kind), np.array([6], kind)]
    errors = on_workers(2, lambda worker: worker.all_reduce(large[worker.rank]))
    assert all(f"is more than {np.dtype(kind)} holds" in str(one) for one in errors)
    for found in on_workers(2, lambda w: w.all_reduce(large[w.rank].astype("float64"))):
        np.testing.assert_allclose(found, [float(limits.max) + 1])


def test_a_tree_that_holds_itself_is_refused() -> None:
    own: list[Any] = []
    own.append(own)
    (error,) = on_workers(1, lambda worker: worker.all_reduce(own))
    assert "nested too deeply" in str(error)


def test_tensors_of_pytorch_come_back_as_tensors() -> None:
    torch = pytest.importorskip("torch")

    def sums(worker: Any) -> Any:
        own = {
            "p": torch.nn.Parameter(torch.full((2,), 1.5)),
            "b": torch.full((3,), float(worker.rank), dtype=torch.bfloat16),
            "i": torch.tensor([worker.rank]),
        }
        return worker.all_reduce(own)

    for found in on_workers(2, sums):
        assert torch.equal(found["p"], torch.full((2,), 3.0)) and not found["p"].requires_grad
        assert torch.equal(found["b"], torch.full((3,), 1.0, dtype=torch.bfloat16))
        assert torch.equal(found["i"], torch.tensor([1]))


def test_jaxs_own_trees_come_back_as_they_were() -> None:
    jax = pytest.importorskip("jax")

    @jax.tree_util.register_pytree_node_class
    class Pair:
        def __init__(self, one: Any, other: Any) -> None:
            self.one, self.other = one, other

        def tree_flatten(self) -> Any:
            return (self.one, self.other), None

        @classmethod
        def tree_unflatten(cls, form: Any, inner: Any) -> Any:
            return cls(*inner)

    (found,) = on_workers(
        1,
        lambda worker: worker.all_reduce(
            {"p": Pair(jax.numpy.ones(2), [jax.numpy.ones(1, "bfloat16")])}
        ),
    )
    assert isinstance(found["p"], Pair) and isinstance(found["p"].one, jax.Array)
    assert found["p"].other[0].dtype == "bfloat16"


@pytest.mark.slow
def test_tensors_of_tensorflow_become_what_numbers_become(ranks: Any) -> None:
    def compare() -> None:
        import tensorflow as tf

        own = {
            "truth": tf.constant([True, False]),
            "half": tf.constant([1, 2.5], tf.bfloat16),
            "whole": tf.constant([1, 2]),
        }
        for found in on_workers(2, lambda worker: worker.all_reduce(own)):
            assert found["truth"].numpy().tolist() == [2, 0]
            assert found["half"].dtype == tf.bfloat16 and found["whole"].dtype == tf.int32
            np.testing.assert_array_equal(tf.cast(found["half"], tf.float32), [2, 5])
        means = on_workers(
            2, lambda worker: worker.all_reduce(own["whole"] * worker.rank, weight=1)
        )
        np.testing.assert_array_equal(means, [[0.5, 1]] * 2)

    ranks.alone(compare)


def test_a_masked_array_is_refused_and_sums_once_it_is_filled() -> None:
    own = np.ma.array([1.0, 2.0], mask=[False, True])
    errors = on_workers(2, lambda worker: worker.all_reduce({"m": own}))
    assert all("a masked array at ['m']" in str(one) for one in errors)
    np.testing.assert_array_equal(
        on_workers(2, lambda worker: worker.all_reduce(own.filled(0)))[0], [2, 0]
    )
