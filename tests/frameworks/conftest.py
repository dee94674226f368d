"""Warm ranks for the tests of frameworks."""

from collections.abc import Iterator

import pytest

# Before any test of this process imports TensorFlow: it fixes which Keras `tf.keras` is.
import zoo.orca.learn.tf2  # noqa: F401
from tests.frameworks.bench import Bench
from tests.frameworks.families import FAMILIES
from tests.frameworks.ranks import Ranks


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    warm = Ranks()
    yield warm
    warm.close()


@pytest.fixture(scope="session")
def torch_ranks() -> Iterator[Ranks]:
    warm = Ranks({})
    yield warm
    warm.close()


@pytest.fixture(scope="session", params=FAMILIES)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """One framework after another: pytest runs the tests of each together, over all files."""
    made = Bench(FAMILIES[request.param])
    yield made
    made.ranks.close()


@pytest.fixture
def keras_bench(bench: Bench, request: pytest.FixtureRequest) -> Bench:
    """The frameworks that are Keras.

    What is particular to Keras 3 is tried on JAX and torch, and what is particular to TensorFlow
    with Keras 2. The two together, which are slow, have the tests of all frameworks, and those that
    are marked.
    """
    if bench.family.framework == "torch":
        pytest.skip("not of Keras")
    is_marked = request.node.get_closest_marker("keras3_on_tensorflow") is not None
    if bench.family is FAMILIES["keras-tensorflow"] and not is_marked:
        pytest.skip("Keras 3 and TensorFlow are tried apart")
    return bench
