"""What a stage is called, and what it leaves of the session as it was."""

from types import SimpleNamespace

import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.stage import _described
from zoo.orca.errors import InvalidInputError

DESCRIPTION = "spark.job.description"


@pytest.mark.timeout(120)
def test_the_users_job_description_is_put_back(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(1.0, 2.0)], "x double, y double")
    spark.sparkContext.setJobDescription("nightly load")
    FakeEstimator.of(linear(1)).fit(frame)
    assert spark.sparkContext.getLocalProperty(DESCRIPTION) == "nightly load"
    spark.sparkContext.setLocalProperty(DESCRIPTION, None)
    FakeEstimator.of(linear(1)).fit(frame)
    assert spark.sparkContext.getLocalProperty(DESCRIPTION) is None


@pytest.mark.timeout(120)
def test_a_name_tells_stages_apart_in_sparks_pages(spark: SparkSession, monkeypatch) -> None:
    frame = spark.createDataFrame([(1.0, 2.0)], "x double, y double")
    told: list[str] = []
    real = spark.sparkContext.setLocalProperty

    def noted(key: str, value: str) -> None:
        if key == DESCRIPTION and value is not None:
            told.append(value)
        real(key, value)

    monkeypatch.setattr(spark.sparkContext, "setLocalProperty", noted)
    FakeEstimator.of(linear(1)).fit(frame, name=" trial\n3 ")
    FakeEstimator.of(linear(1)).fit(frame)
    assert told == ["Orca: fit trial 3", "Orca: fit"]
    with pytest.raises(InvalidInputError, match=r"name=3 is not a label"):
        FakeEstimator.of(linear(1)).fit(frame, name=3)


def gone(*arguments: str) -> None:
    raise ConnectionRefusedError("nobody listens")


def test_a_session_that_ended_meanwhile_does_not_hide_behind_the_clean_up() -> None:
    for change in ({"_jsc": None}, {"setLocalProperty": gone}):
        context = SimpleNamespace(
            _jsc=object(),
            getLocalProperty=lambda key: None,
            setLocalProperty=lambda key, value: None,
        )
        with pytest.raises(KeyError), _described(SimpleNamespace(sparkContext=context), "fit"):
            vars(context).update(change)
            raise KeyError("the cause")
