"""Reads stages that another process wrote; the last line has, as JSON, what came of it."""

import json
import logging
import sys
import warnings

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel

from zoo.orca import OrcaContext, init_orca_context, stop_orca_context


def main(directory: str) -> None:
    """Read each, and predict with it."""
    warnings.simplefilter("error")
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("zoo.orca.ml.persistence").addHandler(handler)
    init_orca_context("local", cores=4, conf={"spark.ui.enabled": "false"})
    spark = OrcaContext.get_spark_session()
    table = spark.read.parquet(f"{directory}/table")
    seen = {}

    def predicted(name, model):
        rows = model.transform(table).orderBy("id").select("prediction", "probability").collect()
        seen[name] = [[row.prediction, *row.probability.toArray().tolist()] for row in rows]

    model = PipelineModel.load(f"{directory}/pipeline_model")
    predicted("pipeline_model", model)
    seen["told"] = list(told)
    last = model.stages[-1]
    seen["uid"], seen["history"] = last.uid, last.summary.history
    seen["params"] = {
        param.name: repr(last.getOrDefault(param))
        for param in last.params
        if last.isDefined(param) and param.name not in last._code
    }
    pipeline = Pipeline.load(f"{directory}/pipeline")
    predicted("pipeline", pipeline.fit(table))
    found = CrossValidatorModel.load(f"{directory}/found")
    predicted("found", found)
    seen["metrics"] = [float(one) for one in found.avgMetrics]
    again = CrossValidator.load(f"{directory}/search")
    seen["grid"] = [
        {param.name: value for param, value in one.items()} for one in again.getEstimatorParamMaps()
    ]
    seen["metrics_again"] = [float(one) for one in again.fit(table).avgMetrics]
    going_on = last.estimator
    going_on.fit(
        model.stages[0].transform(table),
        batch_size=40,
        feature_cols=["features"],
        label_cols=["kind_index"],
        verbose=0,
    )
    predicted("going_on", model)
    stop_orca_context()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
