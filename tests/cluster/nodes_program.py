"""What the tests run on a cluster that they find, in a session of the program's own.

nodes_program.py SOURCE ROOT MASTER DIRECTORY

The session does not say how many executors it wants. Prints one JSON line: the workers of each fit.
"""

import json
import sys
import threading
from pathlib import Path

SOURCE, ROOT, MASTER, DIRECTORY = sys.argv[1:]
# Not by PYTHONPATH: Spark would pass that on.
sys.path[:0] = [SOURCE, ROOT]

from pyspark.sql import SparkSession  # noqa: E402

from tests.fake_estimator import FakeEstimator, linear  # noqa: E402
from tests.jvms import OPTIONS  # noqa: E402
from zoo.orca import init_orca_context  # noqa: E402


def note(rank, step):
    """Note which rank trains."""
    Path(DIRECTORY, f"rank-{rank}").touch()


def fitted(data):
    """Return the workers of a fit that nobody has told how many to take."""
    FakeEstimator.of(linear(1, on_step=note), workers=None).fit(data)
    files = sorted(Path(DIRECTORY).glob("rank-*"))
    for file in files:
        file.unlink()
    return len(files)


def main():
    builder = SparkSession.builder.master(MASTER).config("spark.executor.memory", "1g")
    for key in ("spark.driver.host", "spark.driver.bindAddress"):
        builder = builder.config(key, "127.0.0.1")
    builder = builder.config("spark.executor.extraJavaOptions", OPTIONS)
    spark = builder.config("spark.ui.enabled", False).getOrCreate()
    init_orca_context("standalone", master=MASTER)
    data = spark.range(100).selectExpr("id / 100.0D AS x", "id / 50.0D AS y")
    answer = {"at once": fitted(data), "property": FakeEstimator.of(linear(1), None).num_workers}

    def work():
        answer["thread"] = fitted(data)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    data.write.parquet(f"{DIRECTORY}/rows")
    stream = spark.readStream.schema(data.schema).parquet(f"{DIRECTORY}/rows")

    def each(batch, number):
        answer["foreachBatch"] = fitted(batch)

    writer = stream.writeStream.foreachBatch(each).trigger(availableNow=True)
    writer.option("checkpointLocation", f"{DIRECTORY}/checkpoint").start().awaitTermination(120)
    spark.stop()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
