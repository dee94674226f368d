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
def keras_bench(bench: Bench) -> Bench:
    """The frameworks that are Keras, on all of its backends."""
    if bench.family.framework == "torch":
        pytest.skip("not of Keras")
    return bench
