"""One of several workers without Spark: the framework's plug-in and the ring, on a host of its own.

python benchmarks/_rank.py RANK HOST MODEL FILE BATCH EPOCHS

Prints the port it listens on and reads the addresses of all; then trains, anew, each time that it
reads a line, and answers with a line: the seconds of each epoch, what its network card sent in
each, and what its gradients handed to the ring.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _paths  # noqa: F401
from _bytes import make_card_reader, make_counter, read_counts
from _clocks import epoch_seconds, make_clock, read_seen
from _models import MODELS, Model
from _network import CARD, HOSTS

from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.job import ModelSpec, TrainJob
from zoo.orca.wire.packing import pack
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.collective.ring import Listener, Ring
from zoo.orca.worker.plugin import Rows, World


def rows_of(model: Model, file: Path, batch: int, rank: int) -> Rows:
    """Return a rank's share of a file's rows: every so-manieth one."""
    features, label = model.arrays(file)
    inputs = features if isinstance(features, list) else [features]
    names = [*model.features, model.label]
    columns = dict(zip(names, [*inputs, label], strict=True))
    mine = {
        name: array[rank :: len(HOSTS)].squeeze(1) if array.shape[1] == 1 else array[rank::2]
        for name, array in columns.items()
    }
    specs = {
        name: ColumnSpec(name=name, dtype=a.dtype.name, shape=a.shape[1:])
        for name, a in mine.items()
    }
    spec = FeatureSpec(
        features=tuple(specs[name] for name in model.features), labels=(specs[model.label],)
    )
    counts = tuple(len(label[other :: len(HOSTS)]) for other in range(len(HOSTS)))
    return Rows(
        spec=spec,
        columns=mine,
        plan=PlacedPlan(counts=counts, batch_size=batch, seed=0, shuffle=True),
    )


def train(model: Model, rows: Rows, ring: Collective, config: Any, epochs: int) -> dict[str, Any]:
    """Train once; return what was seen."""
    from zoo.orca.frameworks.tf2 import framework

    names = ["clock", "card", "counter"]
    with tempfile.TemporaryDirectory() as directory:
        places = {name: Path(directory) / name for name in names}
        for place in places.values():
            place.mkdir()
        callbacks = [
            make_clock(places["clock"]),
            make_card_reader(places["card"], CARD),
            make_counter(places["counter"]),
        ]
        creator = pack(model.creator("tf2"), "model_creator")
        job = TrainJob(
            model=ModelSpec(framework="tf2", creator=creator, config=pack(config, "config")),
            columns=rows.spec,
            state=None,
            seed=0,
            batch_size=rows.plan.batch_size,
            epochs=epochs,
            callbacks=pack(callbacks, "callbacks"),
        )
        world = World(collective=ring, report=lambda progress: None)
        plugin = framework()
        plugin.prepare(job, 1)
        plugin.train(job, rows, None, world)
        (card,) = (json.loads(path.read_text()) for path in places["card"].iterdir())
        seconds = epoch_seconds(read_seen(places["clock"]))
        (counts,) = read_counts(places["counter"])
    return {"seconds": seconds, "card": card, "counts": counts}


def main() -> None:
    """Be one rank."""
    rank, host, name, file, batch, epochs = sys.argv[1:]
    model, path = MODELS[name], Path(file)
    listener = Listener(host)
    print(listener.address[1], flush=True)
    addresses = [(place, port) for place, port in json.loads(sys.stdin.readline())]
    ring = Ring.connect(listener, int(rank), addresses, b"only a benchmark".ljust(32, b"."))
    rows, config = rows_of(model, path, int(batch), int(rank)), model.config(path)
    for _ in sys.stdin:
        print(json.dumps(train(model, rows, ring, config, int(epochs))), flush=True)
        ring.barrier()
    ring.close()


if __name__ == "__main__":
    main()
