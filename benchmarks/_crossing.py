"""One of two processes on hosts of their own: Orca's plug-in and ring, or DistributedDataParallel.

python benchmarks/_crossing.py RANK HOST DIRECTORY BATCH EPOCHS

Prints the port it listens on and reads the addresses of all. Each line that it then reads is a JSON
list of a contestant, orca, bfloat16 or ddp, and a file of rows. It trains, and answers with the
seconds of each epoch. Both have the same rows, the same model and one thread.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import _paths  # noqa: F401
import torch
from _clocks import epoch_seconds, make_clock, read_seen
from _loop_pytorch import tensors, train
from _models import MODELS
from _models_pytorch import LOSSES, OPTIMIZERS
from _network import CARD, HOSTS
from _rank import rows_of
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from zoo.orca.frameworks.torch.plugin import framework
from zoo.orca.learn.pytorch.recipe import packed, recipe
from zoo.orca.wire.job import ModelSpec, TrainJob
from zoo.orca.wire.packing import pack
from zoo.orca.worker.collective.ring import Listener, Ring
from zoo.orca.worker.plugin import World

MODEL = MODELS["wide"]


def orca(path: Path, batch: int, epochs: int, ring: Ring, *, rounded: bool) -> list[float]:
    """Train with Orca's plug-in."""
    rows, name = rows_of(MODEL, path, batch, ring.rank), MODEL.name
    creator = MODEL.creator("pytorch")
    parts = recipe(model=creator, optimizer=OPTIMIZERS[name], loss=LOSSES[name]())
    config = pack(MODEL.config(path), "config")
    with tempfile.TemporaryDirectory() as directory:
        job = TrainJob(
            model=ModelSpec(framework="torch", creator=packed(parts), config=config),
            columns=rows.spec,
            state=None,
            seed=0,
            batch_size=batch,
            epochs=epochs,
            callbacks=pack([make_clock(directory, "pytorch")], "callbacks"),
        )
        world = World(collective=ring, report=lambda progress: None, rounds_gradients=rounded)
        plugin = framework()
        plugin.prepare(job, 1)
        plugin.train(job, rows, None, world)
        return epoch_seconds(read_seen(directory))


def ddp(path: Path, batch: int, epochs: int, rank: int) -> list[float]:
    """Train with DistributedDataParallel, which is told to copy no more than it must."""
    torch.manual_seed(0)
    config = MODEL.config(path)
    model = MODEL.creator("pytorch")(config)
    wrapped = DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = OPTIMIZERS[MODEL.name](model, config)
    columns = tensors(MODEL.name, path, rank, len(HOSTS))
    _, spans, _ = train(MODEL.name, wrapped, optimizer, columns, batch // len(HOSTS), epochs)
    return [end - began for began, end in spans]


def answer(asked: list[Any], ring: Ring, directory: Path, batch: int, epochs: int) -> list[float]:
    """Train once; return the seconds of each epoch."""
    contestant, file = asked
    path = directory / f"{file}.parquet"
    if contestant == "ddp":
        return ddp(path, batch, epochs, ring.rank)
    return orca(path, batch, epochs, ring, rounded=contestant == "bfloat16")


def main() -> None:
    """Be one rank."""
    rank, host, directory, batch, epochs = sys.argv[1:]
    torch.set_num_threads(1)
    listener = Listener(host)
    print(listener.address[1], flush=True)
    addresses = [(place, port) for place, port in json.loads(sys.stdin.readline())]
    ring = Ring.connect(listener, int(rank), addresses, b"only a benchmark".ljust(32, b"."))
    os.environ["GLOO_SOCKET_IFNAME"] = CARD
    # No other program is in this namespace.
    meeting = f"tcp://{HOSTS[0]}:29500"
    distributed.init_process_group(
        "gloo", init_method=meeting, rank=int(rank), world_size=len(HOSTS)
    )
    for line in sys.stdin:
        seconds = answer(json.loads(line), ring, Path(directory), int(batch), int(epochs))
        print(json.dumps(seconds), flush=True)
        ring.barrier()
    ring.close()


if __name__ == "__main__":
    main()
