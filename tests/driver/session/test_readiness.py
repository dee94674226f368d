"""The checks of a session before a stage: the first is raised, a rehearsal tells all."""

from typing import Any

import pytest
from pyspark.sql import SparkSession

from zoo.orca.driver.session.readiness import check_readiness
from zoo.orca.errors import InvalidInputError
from zoo.orca.refusals import rehearsal

BAD = {
    "spark.orca.full.traceback": "maybe",
    "spark.orca.heartbeat.timeout": "soon",
    "spark.orca.connect.timeout": "0",
    "spark.orca.elastic.patience": "-1",
    "spark.orca.encryption": "perhaps",
}


@pytest.fixture
def unfit(spark: SparkSession) -> Any:
    for key, value in BAD.items():
        spark.conf.set(key, value)
    yield spark
    for key in BAD:
        spark.conf.unset(key)


def test_all_are_told_in_a_rehearsal(unfit: SparkSession) -> None:
    with rehearsal() as current:
        check_readiness(unfit, 9, 0)
    lines = [str(one).partition("\n")[0] for one in current.refused]
    words = [*BAD, "9 workers need 9 slots"]
    assert all(word in line for word, line in zip(words, lines, strict=True)), lines


def test_the_first_is_raised(unfit: SparkSession) -> None:
    with pytest.raises(InvalidInputError, match="spark.orca.full.traceback"):
        check_readiness(unfit, 9, 0)
