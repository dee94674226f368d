"""Stages over Spark Connect, in a process of its own; the last line has, as JSON, what was seen."""

import json
import sys

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StandardScaler
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder

from tests.ml.models import classifier
from tests.over_connect import connect_session


def main(directory: str) -> None:
    """Fit, transform, search, save and load."""
    spark = connect_session("local[4]")
    table = spark.read.parquet(f"{directory}/table")
    seen = {}

    def predicted(name, model):
        rows = model.transform(table).orderBy("id").select("prediction", "probability").collect()
        seen[name] = [[row.prediction, *row.probability.toArray().tolist()] for row in rows]

    model = classifier("torch").fit(table)
    predicted("stage", model)
    scaler = StandardScaler(inputCol="features", outputCol="scaled")
    stage = classifier("torch", featuresCol="scaled", numWorkers=1, epochs=1)
    pipeline = Pipeline(stages=[scaler, stage])
    found = pipeline.fit(table)
    predicted("pipeline", found)
    for _ in range(2):
        found.write().overwrite().save(f"{directory}/connect_pipeline")
        model.write().overwrite().save(f"{directory}/connect_stage")
    predicted("read", PipelineModel.load(f"{directory}/connect_pipeline"))
    grid = ParamGridBuilder().addGrid(stage.configParam("lr"), [0.5, 0.1]).build()
    evaluator = MulticlassClassificationEvaluator(labelCol="kind", metricName="logLoss")
    search = CrossValidator(
        estimator=pipeline, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=1
    ).fit(table)
    seen["metrics"] = [float(one) for one in search.avgMetrics]
    search.write().overwrite().save(f"{directory}/connect_search")
    again = CrossValidatorModel.load(f"{directory}/connect_search")
    seen["metrics_read"] = [float(one) for one in again.avgMetrics]
    print(json.dumps(seen))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1])
