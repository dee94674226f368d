"""Spark Connect gives what classic Spark gives."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.fake_estimator import FakeEstimator, linear
from tests.jvms import environment_without


@pytest.mark.classic("its program runs over Spark Connect already")
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_connect_gives_the_same(spark, tmp_path):
    frame = pd.DataFrame({"x": np.arange(20) / 20, "y": np.arange(20) / 10})
    estimator = FakeEstimator.of(linear())
    estimator.fit(frame, epochs=1)
    done = subprocess.run(
        [sys.executable, "-m", "tests.data.shard.over_connect", str(tmp_path)],
        env={**environment_without("PYSPARK_"), "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen.pop("weight") == pytest.approx(float(estimator.weights[0]), rel=1e-6)
    assert seen == {
        "transformed": list(range(0, 20, 2)),
        "repartitioned": [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18]],
        "error": "shard 1: ZeroDivisionError: division by zero",
        "rows": 20,
        "aligned": True,
    }
