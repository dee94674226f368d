"""XShards over Spark Connect, in a process of its own; the last line has, as JSON, what was seen.

A process has either classic sessions or those of Spark Connect.
"""

import json
import os
import sys

import numpy as np
import pandas as pd

from tests.fake_estimator import FakeEstimator, linear
from tests.over_connect import connect_session
from zoo.orca.data import SharedValue, XShards
from zoo.orca.data.pandas import read_csv
from zoo.orca.errors import ShardError


def main(directory: str) -> None:
    """Do a bit of everything."""
    spark = connect_session("local[2]")
    seen = {}
    table = SharedValue(np.arange(10) * 2)
    numbers = XShards.partition(np.arange(10), 3).transform_shard(lambda a: table.value[a])
    seen["transformed"] = np.concatenate(numbers.collect()).tolist()
    seen["repartitioned"] = [one.tolist() for one in numbers.repartition(2).collect()]
    try:
        numbers.transform_shard(lambda a: 1 / int(a[0] - 8)).collect()
    except ShardError as error:
        seen["error"] = str(error).splitlines()[0]
    frame = pd.DataFrame({"x": np.arange(20) / 20, "y": np.arange(20) / 10})
    path = os.path.join(directory, "table.csv")
    frame.to_csv(path, index=False)
    shards = read_csv(path)
    seen["rows"] = shards.to_spark_df().count()
    estimator = FakeEstimator.of(linear())
    estimator.fit(shards, epochs=1)
    found = estimator.predict(shards).concat_to_pdf()
    seen["aligned"] = bool(
        np.allclose(found["prediction"], found["x"] * float(estimator.weights[0]), rtol=1e-5)
    )
    seen["weight"] = float(estimator.weights[0])
    print(json.dumps(seen))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1])
