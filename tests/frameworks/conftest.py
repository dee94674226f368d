"""Warm ranks for the tests of frameworks."""

from collections.abc import Iterator

import pytest

# Before any test of this process imports TensorFlow: it fixes which Keras `tf.keras` is.
import zoo.orca.learn.tf2  # noqa: F401
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
