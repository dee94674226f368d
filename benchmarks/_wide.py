"""One contestant of wide.py: trains the dense model on kinds of rows; prints one JSON line.

python benchmarks/_wide.py plain|orca DIRECTORY --framework tf2|pytorch --kinds KIND ...

DIRECTORY has KIND.parquet. The line has the seconds of each epoch, by kind. "plain" is the
framework alone on numpy arrays in memory, or on tensors.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from _clocks import ShippedClock, epoch_seconds, read_seen
from _kinds import WIDTH, read, sparse_places, sparse_vectors, vectors
from _models import MODELS, dense_rows
from _train import PLAIN, Fit, affinity, make_estimator
from pyarrow import parquet

_DENSE = MODELS["dense"]
_NAMES = [f"x{n}" for n in range(WIDTH)]


def _values(table: pa.Table) -> np.ndarray:
    flat = table["x"].combine_chunks().flatten()
    return np.asarray(flat.to_numpy().reshape(-1, WIDTH))


def _stacked(table: pa.Table) -> pa.Table:
    return pa.table([*_values(table).T, table["y"]], names=[*_NAMES, "y"])


def _vectors(table: pa.Table) -> pa.Table:
    return vectors(_values(table)).append_column("y", table["y"])


def _sparse(table: pa.Table) -> pa.Table:
    places, values = sparse_places(np.random.default_rng(0), table.num_rows)
    return sparse_vectors(places, values).append_column("y", table["y"])


def _bytes(table: pa.Table) -> pa.Table:
    buffers = table["x"].combine_chunks().flatten().buffers()
    offsets = np.arange(table.num_rows + 1, dtype=np.int32) * 4 * WIDTH
    found = [None, pa.py_buffer(offsets), buffers[1]]
    return pa.table(
        [pa.Array.from_buffers(pa.binary(), table.num_rows, found), table["y"]], names=["x", "y"]
    )


#: The files of each kind, made of the rows that the framework alone trains on.
KINDS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "arrays": lambda table: table,
    "stacked": _stacked,
    "vectors": _vectors,
    "sparse": _sparse,
    "bytes": _bytes,
}


def save(directory: Path, rows: int) -> None:
    """Write the files of all kinds."""
    table = dense_rows(rows, 0)
    for kind, made in KINDS.items():
        parquet.write_table(made(table), directory / f"{kind}.parquet")


def decoded(columns: dict[str, np.ndarray], training: bool) -> dict[str, np.ndarray]:
    """Turn bytes into the numbers that they are: a `batch_transform`."""
    x = np.frombuffer(b"".join(columns["x"].tolist()), np.float32)
    return {**columns, "x": x.reshape(len(columns["x"]), -1)}


def orca(options: argparse.Namespace) -> dict[str, list[float]]:
    """Train with Orca on one kind after another."""
    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

    init_orca_context("local", cores=len(affinity()), memory="4g")
    spark = OrcaContext.get_spark_session()
    quiet = {} if options.framework == "pytorch" else {"verbose": 0}
    seconds = {}
    for kind in options.kinds:
        frame = read(
            spark,
            str(options.directory / f"{kind}.parquet"),
            is_vector=kind in ("vectors", "sparse"),
        )
        more: dict[str, Any] = {"batch_transform": decoded} if kind == "bytes" else {}
        with tempfile.TemporaryDirectory() as clocks:
            make_estimator(fit_of(options), options, **more).fit(
                frame,
                epochs=options.epochs,
                batch_size=options.batch,
                callbacks=[ShippedClock(clocks, options.framework)],
                feature_cols=[_NAMES] if kind == "stacked" else ["x"],
                label_cols=["y"],
                **quiet,
            )
            seconds[kind] = epoch_seconds(read_seen(clocks))
    stop_orca_context()
    return seconds


def plain(options: argparse.Namespace) -> dict[str, list[float]]:
    """Train with the framework alone."""
    return {"numpy": PLAIN[options.framework](fit_of(options), options)["seconds"]}


def fit_of(options: argparse.Namespace) -> Fit:
    """Return the training of the rows."""
    return Fit(_DENSE, options.directory / "arrays.parquet", None, options.batch, 0)


def main() -> None:
    """Run one contestant."""
    parser = argparse.ArgumentParser()
    parser.add_argument("contestant", choices=["plain", "orca"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--framework", choices=["tf2", "pytorch"], default="tf2")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--batch", type=int, default=1280)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    # What the other contestants of _train.py can be asked for.
    options.workers, options.bind, options.steps_per_execution = 1, False, 1
    options.meet, options.compile = None, False
    if hasattr(os, "sched_setaffinity"):
        there = affinity()
        os.sched_setaffinity(0, [there[i % len(there)] for i in (0, 1)])
    print(json.dumps({"seconds": {"plain": plain, "orca": orca}[options.contestant](options)}))


if __name__ == "__main__":
    main()
