"""Warm ranks for the tests of frameworks."""

from collections.abc import Iterator

import pytest

from tests.frameworks.ranks import Ranks


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    warm = Ranks()
    yield warm
    warm.close()
