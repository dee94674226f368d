"""Stages over Spark Connect give what they give over classic Spark."""

import json
import os
import subprocess
import sys

import pytest
from pyspark.ml import PipelineModel

from tests.ml.models import classifier
from tests.ml.test_persistence import predictions
from zoo.orca.ml import TorchClassifierModel


@pytest.mark.classic("its program runs over Spark Connect already")
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_connect_gives_the_same(table, tmp_path):
    table.write.parquet(f"{tmp_path}/table")
    rows = table.sparkSession.read.parquet(f"{tmp_path}/table")
    model = classifier("torch").fit(rows)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.ml.over_connect", str(tmp_path)],
        env={**environment, "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    for found, expected in zip(seen["stage"], predictions(model, rows), strict=True):
        assert found == pytest.approx(expected, rel=1e-5)
    assert seen["read"] == seen["pipeline"]
    assert seen["metrics_read"] == seen["metrics"] and len(set(seen["metrics"])) == 2
    # What was written there is read here.
    again = TorchClassifierModel.load(f"{tmp_path}/connect_stage")
    for found, expected in zip(predictions(again, rows), seen["stage"], strict=True):
        assert found == pytest.approx(expected, rel=1e-6)
    read = PipelineModel.load(f"{tmp_path}/connect_pipeline")
    assert [row[0] for row in predictions(read, rows)] == [row[0] for row in seen["pipeline"]]
