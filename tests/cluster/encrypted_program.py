"""What the tests run on a cluster whose own connections are encrypted.

encrypted_program.py SOURCE ROOT MASTER SECRET

Prints one JSON line: for each fit whether its workers' links were encrypted, its weights, its loss.
"""

import json
import sys

SOURCE, ROOT, MASTER, SECRET = sys.argv[1:]
# Not by PYTHONPATH: Spark would pass that on.
sys.path[:0] = [SOURCE, ROOT]

from pyspark.sql import SparkSession  # noqa: E402

from tests.fake_estimator import FakeEstimator  # noqa: E402
from tests.jvms import OPTIONS  # noqa: E402
from zoo.orca import init_orca_context, stop_orca_context  # noqa: E402
from zoo.orca.frameworks.fake import LinearModel  # noqa: E402

CONF = {
    "spark.authenticate": "true",
    "spark.authenticate.secret": SECRET,
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.executor.extraJavaOptions": OPTIONS,
    "spark.network.crypto.enabled": "true",
}


def creator(config):
    """Return a model that prints, before its first step, what its worker's links are."""

    def look(rank, step):
        import gc

        from zoo.orca.worker.collective.sockets import Link

        if not step:
            gc.unfreeze()
            gc.collect()  # links of the job before
            kinds = {type(one).__name__ for one in gc.get_objects() if isinstance(one, Link)}
            if kinds != config["links"]:
                raise ValueError(f"{kinds} are not {config['links']}")

    return LinearModel(features=1, on_step=look)


def main():
    init_orca_context("standalone", cores=1, memory="1g", num_nodes=2, conf=CONF, master=MASTER)
    spark = SparkSession.builder.getOrCreate()
    rows = spark.range(60).selectExpr("rand(1) - 0.5 as x", "rand(2) as y").repartition(2).cache()
    told = {}
    for encrypted, links in (("", {"EncryptedLink"}), ("false", {"Link"})):
        if encrypted:
            spark.conf.set("spark.orca.encryption", encrypted)
        estimator = FakeEstimator.of(lambda config, k=links: creator({"links": k}), workers=2)
        stats = estimator.fit(rows, epochs=3, batch_size=7)
        told[encrypted] = [estimator.weights.tobytes().hex(), stats.history["loss"]]
    stop_orca_context()
    print(json.dumps(told), flush=True)


main()
