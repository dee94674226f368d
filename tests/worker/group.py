"""A job on several children with prepared rows: what tasks do, without Spark."""

import pickle
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.job import ModelSpec, TrainJob
from zoo.orca.wire.messages.pipe import Connect, Listening, RunJob, Start
from zoo.orca.wire.messages.results import Failure, Outcome
from zoo.orca.wire.packing import pack
from zoo.orca.worker.rows.spool import Spool
from zoo.orca.worker.task.child_process import Child

SPEC = FeatureSpec(
    features=(ColumnSpec(name="x", dtype="float32"),),
    labels=(ColumnSpec(name="y", dtype="float32"),),
)
HEARTBEAT = 30.0


def train_job(creator: Callable[[Any], Any], **fields: Any) -> TrainJob:
    """Return a job for the framework in numpy."""
    model = ModelSpec(
        framework="fake", creator=pack(creator, "model_creator"), config=pack({}, "config")
    )
    given = {"batch_size": 10, "epochs": 2, **fields}
    return TrainJob(model=model, columns=SPEC, state=None, seed=0, **given)


class Group:
    """Children that are sent one job after another; `close` ends them."""

    def __init__(self, size: int) -> None:
        self.children = [Child({}) for _ in range(size)]

    def run(
        self, job: TrainJob, rows: Sequence[Sequence[float]], directory: Path
    ) -> list[Outcome | Failure]:
        """Run `job`, with each rank's x values (y = 3 x), and return the children's last words."""
        size = len(self.children)
        for rank, child in enumerate(self.children):
            child.renew()
            (directory / str(rank)).mkdir(parents=True)
            child.send(
                RunJob(
                    directory=str(directory / str(rank)),
                    host="127.0.0.1",
                    rank=rank,
                    size=size,
                    cpus=(),
                    threads=1,
                    job=pickle.dumps(job),
                ),
                heartbeat=HEARTBEAT,
            )
        told = [child.wait(Listening, Failure, heartbeat=HEARTBEAT) for child in self.children]
        addresses = tuple(getattr(message, "address", None) for message in told)
        for child in self.children:
            child.send(
                Connect(addresses=addresses, secret=b"ab" * 16, timeout=20.0), heartbeat=HEARTBEAT
            )
        for rank, child in enumerate(self.children):
            spool = Spool(str(directory / str(rank)), job.columns, False)
            x = pa.array(rows[rank], pa.float32())
            y = pa.array([3 * value for value in rows[rank]], pa.float32())
            origin = pa.array([0] * len(x), pa.int32())
            place = pa.array(np.arange(len(x)) * 7919 % 1009)  # as good as any hash
            columns = [x, y, origin, place]
            spool.add(pa.RecordBatch.from_arrays(columns, ["c0", "c1", "origin", "place"]))
            child.send(Start(spooled=spool.finish(), moved=0.0), heartbeat=HEARTBEAT)
        return self._last_words()

    def close(self) -> None:
        """End all children."""
        for child in self.children:
            child.stop()

    def _last_words(self) -> list[Outcome | Failure]:
        found: dict[int, Outcome | Failure] = {}

        def wait(rank: int) -> None:
            try:
                found[rank] = self.children[rank].wait(Outcome, Failure, heartbeat=HEARTBEAT)
            except Exception as error:
                found[rank] = Failure(error=type(error).__name__, message=str(error))

        threads = [
            threading.Thread(target=wait, args=(rank,)) for rank in range(len(self.children))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[rank] for rank in range(len(self.children))]
