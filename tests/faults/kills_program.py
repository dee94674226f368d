"""A driver whose parts are killed: the driver's side of `test_kills`.

kills_program.py SOURCE TESTS MASTER DIRECTORY

Trains once for each line that it reads, goes on with what a killed one has left in DIRECTORY, and
answers with one JSON line. The model is the linear one in numpy. A line has the number of workers
and names what goes wrong, once for a file of that name beside DIRECTORY, or is "fit".
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

SOURCE, ROOT, MASTER, DIRECTORY = sys.argv[1:]
sys.path[:0] = [SOURCE, ROOT]

from pyspark.sql import SparkSession  # noqa: E402

from tests.cluster.sessions import start  # noqa: E402
from tests.fake_estimator import FakeEstimator  # noqa: E402
from tests.faults import pythons  # noqa: E402
from zoo.orca import stop_orca_context  # noqa: E402
from zoo.orca.errors import OrcaError  # noqa: E402
from zoo.orca.frameworks.fake import LinearModel  # noqa: E402

#: 12 steps an epoch, the last one smaller.
ROWS, BATCH, EPOCHS = 180, 16, 8


def lose_peers():
    """End all connections of this child, and a second later its task: a peer is lost twice."""
    for name in os.listdir("/proc/self/fd"):
        try:
            socket.socket(fileno=os.dup(int(name))).shutdown(socket.SHUT_RDWR)
        except OSError:  # no socket
            continue
    time.sleep(1)
    os.kill(pythons.of_own_task(), signal.SIGKILL)


def die():
    """End this child."""
    os.kill(os.getpid(), signal.SIGKILL)


FAULTS = {"lose peers": lose_peers, "die": die}


def creator_of(what):
    """Return a creator of a model whose every step takes a while, or goes wrong."""
    fault, marker = FAULTS.get(what), Path(DIRECTORY).parent / what

    def creator(config):
        def on_step(rank, step):
            time.sleep(0.02)
            if fault and rank == 0 and step == 30 and not marker.exists():
                marker.touch()
                fault()

        return LinearModel(features=1, rate=0.1, on_step=on_step)

    return creator


def trained(estimator, rows):
    """Train, or go on with training, and tell what came of it."""
    try:
        stats = estimator.checked_fit(
            rows,
            epochs=EPOCHS,
            batch_size=BATCH,
            validation=rows,
            checkpoint_steps=2,
            resume=True,
        )
    except OrcaError as error:
        notes = getattr(error, "__notes__", [])
        return {"error": type(error).__name__, "message": str(error), "notes": notes}
    return {"weights": estimator.weights.tolist(), "history": stats.history}


def main():
    """Answer line by line."""
    start(MASTER)
    spark = SparkSession.builder.getOrCreate()
    rows = spark.range(0, ROWS, 1, 3).selectExpr("id % 17 / 17 - 0.5 x", "id % 23 / 23 y")
    for line in sys.stdin:
        workers, _, what = line.strip().partition(" ")
        estimator = FakeEstimator.of(creator_of(what), int(workers), model_dir=DIRECTORY)
        print(json.dumps(trained(estimator, rows)), flush=True)
    stop_orca_context()
    print(json.dumps({"left": sorted(map(str, Path(DIRECTORY).glob("*")))}), flush=True)


if __name__ == "__main__":
    main()
