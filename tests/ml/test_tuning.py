"""Spark's own searches over stages."""

import numpy as np
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator
from pyspark.ml.feature import StandardScaler
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit

from tests.ml.models import classifier, regressor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_cross_validation_is_its_fits_by_hand(table):
    """Fits in threads, which share the slots: two of two workers each have four."""
    stage = classifier("torch", epochs=1)
    grid = ParamGridBuilder().addGrid(stage.configParam("lr"), [0.5, 0.05]).build()
    evaluator = MulticlassClassificationEvaluator(labelCol="kind", metricName="logLoss")
    search = CrossValidator(
        estimator=stage,
        estimatorParamMaps=grid,
        evaluator=evaluator,
        numFolds=2,
        parallelism=2,
        seed=1,
        collectSubModels=True,
    )
    found = search.fit(table)
    by_hand = [
        [evaluator.evaluate(stage.fit(train, one).transform(rest)) for one in grid]
        for train, rest in search._kFold(table)
    ]
    assert found.avgMetrics == pytest.approx(np.mean(by_hand, axis=0), rel=1e-5)
    best = grid[int(np.argmin(found.avgMetrics))]
    assert found.bestModel.getConfig() == {"lr": next(iter(best.values()))}
    expected = stage.fit(table, best).summary.history["loss"]
    assert found.bestModel.summary.history["loss"] == pytest.approx(expected, rel=1e-5)
    assert len(found.subModels) == 2 and len(found.subModels[0]) == 2


def test_more_fits_at_a_time_than_there_are_slots(table):
    """Four fits of three workers on four slots take turns."""
    stage = regressor("torch", numWorkers=3, epochs=1)
    grid = ParamGridBuilder().addGrid(stage.seed, [1, 2, 3, 4]).build()
    search = TrainValidationSplit(
        estimator=stage,
        estimatorParamMaps=grid,
        evaluator=RegressionEvaluator(labelCol="size"),
        parallelism=4,
        seed=1,
    )
    found = search.fit(table)
    assert len(set(found.validationMetrics)) == 4
    assert found.transform(table).count() == table.count()


def test_a_pipeline_is_searched_over_parameters_of_its_stages(table):
    scaler = StandardScaler(inputCol="features", outputCol="scaled")
    stage = regressor("torch", featuresCol="scaled", numWorkers=1)
    pipeline = Pipeline(stages=[scaler, stage])
    grid = (
        ParamGridBuilder()
        .addGrid(scaler.withMean, [False, True])
        .addGrid(stage.config, [{"lr": 0.1}])
        .build()
    )
    search = TrainValidationSplit(
        estimator=pipeline,
        estimatorParamMaps=grid,
        evaluator=RegressionEvaluator(labelCol="size"),
        seed=1,
    )
    found = search.fit(table)
    assert found.bestModel.stages[-1].getConfig() == {"lr": 0.1}
    assert all(np.isfinite(found.validationMetrics))
