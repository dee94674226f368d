"""The contestants: each trains the example's model on the same rows, and prints one JSON line.

python benchmarks/_ncf.py plain|orca|mirrored DIRECTORY [options]

DIRECTORY has train.parquet and perhaps test.parquet, as `save` writes them. The line has, for each
seed, the history and the seconds of each epoch, from its beginning to its end as a callback sees
them; of several workers, those of the slowest.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

COLUMNS = ["user", "item", "label"]


def save(table: pa.Table, directory: Path, seed: int) -> tuple[int, int]:
    """Split ratings 80 to 20 at random and write both parts; return how many rows each has."""
    order = np.random.default_rng(seed).permutation(table.num_rows)
    label = pa.array(table["rating"].to_numpy() - 1)
    table = pa.table([table["user"], table["item"], label], names=COLUMNS)
    cut = 8 * table.num_rows // 10
    parquet.write_table(table.take(order[:cut]), directory / "train.parquet")
    parquet.write_table(table.take(order[cut:]), directory / "test.parquet")
    return cut, table.num_rows - cut


def arrays(directory: Path, part: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return a part's features and labels, each of the shape (rows, 1)."""
    table = parquet.read_table(directory / f"{part}.parquet")
    user, item, label = (table[name].to_numpy().reshape(-1, 1) for name in COLUMNS)
    return [user, item], label


def config(directory: Path) -> dict[str, int]:
    """Return what the model's creator needs to know."""
    parts = [arrays(directory, part)[0] for part in ("train", "test")]
    user, item = (max(int(part[i].max()) for part in parts) for i in (0, 1))
    return {"max_user_id": user, "max_item_id": item}


def make_clock(directory: str) -> Any:
    """Return a callback that writes the seconds of each epoch to a file of its process's own."""
    import tensorflow as tf

    class Clock(tf.keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self.began)

        def on_train_end(self, logs: Any = None) -> None:
            path = os.path.join(directory, f"{os.getpid()}.json")
            with open(path, "w") as file:
                json.dump(self.seconds, file)

    return Clock()


def read_clocks(directory: str) -> list[float]:
    """Return each epoch's seconds, of the slowest worker, and forget them."""
    files = list(Path(directory).iterdir())
    seconds = [json.loads(file.read_text()) for file in files]
    for file in files:
        file.unlink()
    return [max(epoch) for epoch in zip(*seconds, strict=True)]


def plain(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train with Keras alone: `model.fit` on arrays, in one process."""
    import tensorflow as tf
    from movielens_ncf import model_creator

    features, labels = arrays(options.directory, "train")
    test = arrays(options.directory, "test") if options.validate else None
    with tempfile.TemporaryDirectory() as clocks:
        for seed in options.seeds:
            tf.keras.utils.set_random_seed(seed)
            history = model_creator(config(options.directory)).fit(
                features,
                labels,
                batch_size=options.batch_size,
                epochs=options.epochs,
                verbose=0,
                validation_data=test,
                callbacks=[make_clock(clocks)],
            )
            yield {"history": history.history, "seconds": read_clocks(clocks)}


def orca(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train with Orca on DataFrames."""
    from movielens_ncf import model_creator

    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context
    from zoo.orca.learn.tf2 import Estimator

    init_orca_context("local", cores=2)
    spark = OrcaContext.get_spark_session()
    train, test = (
        spark.read.parquet(str(options.directory / f"{part}.parquet")) for part in ("train", "test")
    )
    with tempfile.TemporaryDirectory() as clocks:
        for seed in options.seeds:
            est = Estimator.from_keras(
                model_creator=model_creator,
                config=config(options.directory),
                num_workers=options.workers,
                seed=seed,
            )
            stats = est.fit(
                train,
                epochs=options.epochs,
                batch_size=options.batch_size,
                verbose=0,
                callbacks=[make_clock(clocks)],
                validation_data=test if options.validate else None,
                feature_cols=["user", "item"],
                label_cols=["label"],
            )
            est.shutdown()
            yield {"history": stats.history, "seconds": read_clocks(clocks)}
    stop_orca_context()


def mirrored(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train with MultiWorkerMirroredStrategy in two processes."""
    with socket.socket() as one, socket.socket() as two:
        for listener in (one, two):
            listener.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in (one, two)]
    processes = []
    for index in range(len(workers)):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, *sys.argv, "--rank", str(index)]
        environment = os.environ | {"TF_CONFIG": json.dumps(task)}
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    try:
        said = [process.communicate(timeout=500)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    runs = [json.loads(text.splitlines()[-1])["runs"][0] for text in said]
    slowest = [max(epoch) for epoch in zip(*(run["seconds"] for run in runs), strict=True)]
    yield {"history": runs[0]["history"], "seconds": slowest}


def mirrored_worker(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train one of the two processes of `mirrored`.

    The rows are split and cut into batches beforehand, so that the pipeline costs as little as it
    can: what is left is the strategy's own. Threads are TensorFlow's default, which one thread a
    process does not beat.
    """
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    from movielens_ncf import model_creator

    (user, item), label = arrays(options.directory, "train")
    half = options.batch_size // 2
    steps = min(options.steps or len(user), len(user) // options.batch_size)
    mine = slice(options.rank * steps * half, (options.rank + 1) * steps * half)
    batches = [column[mine].reshape(steps, half, 1) for column in (user, item, label)]

    def dataset(context: Any) -> Any:
        tensors = tf.data.Dataset.from_tensor_slices(((batches[0], batches[1]), batches[2]))
        off = tf.data.Options()
        off.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return tensors.shuffle(steps).repeat().prefetch(tf.data.AUTOTUNE).with_options(off)

    tf.keras.utils.set_random_seed(options.seeds[0])
    with strategy.scope():
        model = model_creator(config(options.directory))
    with tempfile.TemporaryDirectory() as clocks:
        history = model.fit(
            strategy.distribute_datasets_from_function(dataset),
            epochs=options.epochs,
            steps_per_epoch=steps,
            verbose=0,
            callbacks=[make_clock(clocks)],
        )
        yield {"history": history.history, "seconds": read_clocks(clocks)}


def main() -> None:
    """Run one contestant on two processors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("contestant", choices=["plain", "orca", "mirrored"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=1280)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--rank", type=int)
    options = parser.parse_args()
    # Every contestant gets the same two processors, and all that it starts inherits them.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    contestants = {"plain": plain, "orca": orca, "mirrored": mirrored}
    run = contestants[options.contestant] if options.rank is None else mirrored_worker
    print(json.dumps({"runs": list(run(options))}))


if __name__ == "__main__":
    main()
