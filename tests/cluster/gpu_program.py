"""What the tests run on a cluster whose executors have two GPUs each, as far as Spark knows.

gpu_program.py SOURCE ROOT MASTER DIRECTORY

Prints one JSON line. Each child notes in DIRECTORY/PID which devices it was shown, for each model.
"""

import json
import os
import sys
from pathlib import Path

SOURCE, ROOT, MASTER, DIRECTORY = sys.argv[1:]
# Not by PYTHONPATH: Spark would pass that on.
sys.path[:0] = [SOURCE, ROOT]

from tests.cluster.sessions import start  # noqa: E402
from tests.fake_estimator import FakeEstimator  # noqa: E402
from zoo.orca import OrcaContext, stop_orca_context  # noqa: E402
from zoo.orca.errors import ContextError  # noqa: E402
from zoo.orca.learn.options import EngineOptions  # noqa: E402
from zoo.orca.wire.job import ModelSpec  # noqa: E402
from zoo.orca.wire.packing import pack  # noqa: E402


def creator(config):
    """Return a linear model, and note what the framework would see."""
    from zoo.orca.frameworks.fake import LinearModel

    with open(os.path.join(DIRECTORY, str(os.getpid())), "a") as file:
        file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "nothing set") + "\n")
    return LinearModel(features=1, rate=0.1)


def estimator(workers, gpus):
    model = ModelSpec(
        framework="fake", creator=pack(creator, "model_creator"), config=pack({}, "config")
    )
    return FakeEstimator(model, EngineOptions(num_workers=workers, num_gpus_per_worker=gpus))


def seen():
    """Return the devices that each child was shown since the last call, by process id."""
    files = sorted(Path(DIRECTORY).iterdir())
    found = {file.name: file.read_text().split("\n")[:-1] for file in files}
    for file in files:
        file.unlink()
    return found


def refusal(workers, gpus, data):
    try:
        estimator(workers, gpus).fit(data)
    except ContextError as error:
        return f"{type(error).__name__}: {error}"
    return None


def main():
    gpus = {"spark.executor.resource.gpu.amount": 2}
    start(MASTER, {"spark.sql.shuffle.partitions": 2, **gpus})
    spark = OrcaContext.get_spark_session()
    data = spark.range(100).selectExpr("id / 100.0D AS x", "id / 50.0D AS y").repartition(2)
    two = estimator(2, 1)
    answer = {"loss": two.fit(data).history["loss"], "fit": seen()}
    answer["rows"] = len(two.predict(data).collect())
    answer["predict"] = seen()
    estimator(2, 2).fit(data)
    answer["two each"] = seen()
    estimator(2, 0).fit(data)
    answer["none"] = seen()
    answer["three workers"] = refusal(3, 2, data)
    answer["three each"] = refusal(1, 3, data)
    stop_orca_context()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
