"""One contestant: trains a model on rows of a file, several times over, and prints one JSON line.

python benchmarks/_train.py plain|orca|mirrored|ddp MODEL DIRECTORY --fits FILE:BATCH ... [options]

DIRECTORY has FILE.parquet. The line has, for each fit and seed, the history and the seconds of
each epoch, validation left out, as a callback sees them; of several workers, of the slowest.
"""

import argparse
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _bytes import make_counter, read_counts
from _clocks import ShippedClock, epoch_seconds, make_clock, read_seen
from _models import MODELS, Model

Found = dict[str, Any]


@dataclass(frozen=True)
class Fit:
    """A training: of which rows, at which batch size, from which seed."""

    model: Model
    train: Path
    validation: Path | None
    batch: int
    seed: int

    @property
    def config(self) -> dict[str, Any]:
        """What the model's creator is called with."""
        return self.model.config(self.train, *([self.validation] if self.validation else []))


def fits(options: argparse.Namespace) -> Iterator[tuple[str, Fit]]:
    """Yield the trainings that were asked for."""
    for name in options.fits:
        file, batch = name.rsplit(":", 1)
        paths = [options.directory / f"{one}.parquet" for one in (file, options.validation)]
        validation = paths[1] if options.validation else None
        for seed in options.seeds:
            yield name, Fit(MODELS[options.model], paths[0], validation, int(batch), seed)


def plain(options: argparse.Namespace) -> Iterator[Found]:
    """Train with the framework alone: arrays, one process."""
    train = PLAIN[options.framework]
    for name, fit in fits(options):
        yield {"fit": name, "seed": fit.seed, **train(fit, options)}


def plain_keras(fit: Fit, options: argparse.Namespace) -> Found:
    """Train with Keras alone: `model.fit` on numpy arrays."""
    if options.framework == "tf2":
        from tensorflow import keras
    else:
        # Keras 3 looks at it when it is imported, and never again.
        os.environ["KERAS_BACKEND"] = options.framework.partition("-")[2]
        import keras
    keras.utils.set_random_seed(fit.seed)
    model = fit.model.creator(options.framework)(fit.config)
    if options.steps_per_execution > 1:
        model.compile(**fit.model.compiled, steps_per_execution=options.steps_per_execution)
    features, labels = fit.model.arrays(fit.train)
    validation = fit.model.arrays(fit.validation) if fit.validation else None
    settings: dict[str, Any] = {"batch_size": fit.batch, "verbose": 0}
    if options.meet:
        # The other process must be training too while this one is timed, not still starting.
        model.fit(features, labels, epochs=1, **settings)
        meet(options.meet, options.together)
    with tempfile.TemporaryDirectory() as clocks:
        history = model.fit(
            features,
            labels,
            epochs=options.epochs,
            validation_data=validation,
            callbacks=[make_clock(clocks, options.framework)],
            **settings,
        )
        return {"history": history.history, "seconds": epoch_seconds(read_seen(clocks))}


def plain_pytorch(fit: Fit, options: argparse.Namespace) -> Found:
    """Train with a loop in PyTorch, on tensors."""
    import torch
    from _loop_pytorch import tensors, train
    from _models_pytorch import OPTIMIZERS

    name = fit.model.name
    torch.manual_seed(fit.seed)
    torch.set_num_threads(len(affinity()))
    model = fit.model.creator("pytorch")(fit.config)
    optimizer = OPTIMIZERS[name](model, fit.config)
    called = torch.compile(model) if options.compile else model
    columns = tensors(name, fit.train)
    validation = tensors(name, fit.validation) if fit.validation else None
    if options.meet:
        train(name, called, optimizer, columns, fit.batch, 1)
        meet(options.meet, options.together)
    history, spans, _ = train(
        name, called, optimizer, columns, fit.batch, options.epochs, validation
    )
    return {"history": history, "seconds": [end - began for began, end in spans]}


def meet(directory: Path, processes: int) -> None:
    """Return once so many processes have called this with the same directory."""
    (directory / str(os.getpid())).touch()
    deadline = time.monotonic() + 120
    while len(list(directory.iterdir())) < processes:
        if time.monotonic() > deadline:
            raise SystemExit("the other process did not come")
        time.sleep(0.002)


KERAS = ("keras-jax", "keras-tensorflow", "keras-torch")
PLAIN: dict[str, Callable[[Fit, argparse.Namespace], Found]] = {
    "tf2": plain_keras,
    **dict.fromkeys(KERAS, plain_keras),
    "pytorch": plain_pytorch,
}


def make_estimator(fit: Fit, options: argparse.Namespace, **more: Any) -> Any:
    """Return Orca's estimator of a framework."""
    framework, _, backend = options.framework.partition("-")
    estimator = importlib.import_module(f"zoo.orca.learn.{framework}").Estimator
    creator = fit.model.creator(options.framework)
    settings: dict[str, Any] = {"config": fit.config, "num_workers": options.workers}
    settings |= {"seed": fit.seed, **more}
    if options.bind:  # otherwise the estimator's own default, which differs by framework
        settings["cpu_binding"] = True
    if framework == "pytorch":
        from _models_pytorch import LOSSES, OPTIMIZERS

        from zoo.orca.learn.metrics import Accuracy

        name = fit.model.name
        metrics = [Accuracy()] if fit.model.is_classes else None
        settings |= {"optimizer": OPTIMIZERS[name], "loss": LOSSES[name](), "metrics": metrics}
        return estimator.from_torch(model=creator, **settings)
    if backend:
        settings["keras_backend"] = backend
    return estimator.from_keras(model_creator=creator, **settings)


def orca(options: argparse.Namespace) -> Iterator[Found]:
    """Train with Orca on DataFrames."""
    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

    init_orca_context("local", cores=max(options.workers, len(affinity())), memory="4g")
    spark = OrcaContext.get_spark_session()
    for name, fit in fits(options):
        paths = [str(path) for path in (fit.train, fit.validation) if path]
        frames = [spark.read.parquet(path) for path in paths]
        quiet = {} if options.framework == "pytorch" else {"verbose": 0}
        with tempfile.TemporaryDirectory() as clocks, tempfile.TemporaryDirectory() as counts:
            est = make_estimator(fit, options)
            counters = [make_counter(counts)] if options.count_bytes else []
            stats = est.fit(
                frames[0],
                epochs=options.epochs,
                batch_size=fit.batch,
                callbacks=[ShippedClock(clocks, options.framework), *counters],
                validation_data=frames[1] if fit.validation else None,
                feature_cols=fit.model.features,
                label_cols=[fit.model.label],
                **quiet,
            )
            est.shutdown()
            found = {"history": stats.history, "seconds": epoch_seconds(read_seen(clocks))}
            if options.count_bytes:
                found["bytes"] = read_counts(counts)
            yield {"fit": name, "seed": fit.seed, **found}
    stop_orca_context()


def ddp(options: argparse.Namespace) -> Iterator[Found]:
    """Train with DistributedDataParallel, two processes under pyspark's `TorchDistributor`."""
    from _loop_pytorch import train_rank
    from pyspark.ml.torch.distributor import TorchDistributor
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = session.getOrCreate()
    for name, fit in fits(options):
        distributor = TorchDistributor(num_processes=2, local_mode=True, use_gpu=False)
        settings = (str(fit.train), fit.batch, options.epochs, fit.seed)
        found = distributor.run(train_rank, fit.model.name, fit.config, *settings)
        yield {"fit": name, "seed": fit.seed, **found}
    spark.stop()


def mirrored(options: argparse.Namespace) -> Iterator[Found]:
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
    yield runs[0] | {"seconds": slowest}


def mirrored_worker(options: argparse.Namespace) -> Iterator[Found]:
    """Train one of the two processes of `mirrored`; the first of `fits` alone.

    The rows are split and cut into batches beforehand, so that the pipeline costs as little as it
    can: what is left is the strategy's own. Threads are TensorFlow's default, which one thread a
    process does not beat.
    """
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    name, fit = next(fits(options))
    features, label = fit.model.arrays(fit.train)
    inputs = features if isinstance(features, list) else [features]
    half = fit.batch // 2
    steps = min(options.steps or len(label), len(label) // fit.batch)
    mine = slice(options.rank * steps * half, (options.rank + 1) * steps * half)
    *x, y = (array[mine].reshape(steps, half, -1) for array in (*inputs, label))

    def dataset(context: Any) -> Any:
        tensors = tf.data.Dataset.from_tensor_slices((tuple(x) if len(x) > 1 else x[0], y))
        off = tf.data.Options()
        off.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return tensors.shuffle(steps).repeat().prefetch(tf.data.AUTOTUNE).with_options(off)

    tf.keras.utils.set_random_seed(fit.seed)
    with strategy.scope():
        model = fit.model.creator("tf2")(fit.config)
    with tempfile.TemporaryDirectory() as clocks:
        history = model.fit(
            strategy.distribute_datasets_from_function(dataset),
            epochs=options.epochs,
            steps_per_epoch=steps,
            verbose=0,
            callbacks=[make_clock(clocks)],
        )
        seconds = epoch_seconds(read_seen(clocks))
    rows = steps * fit.batch
    yield {"fit": name, "rows": rows, "history": history.history, "seconds": seconds}


def affinity() -> list[int]:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("contestant", choices=["plain", "orca", "mirrored", "ddp"])
    add("model", choices=list(MODELS))
    add("directory", type=Path)
    add("--fits", nargs="+", required=True, metavar="FILE:BATCH")
    add("--framework", choices=list(PLAIN), default="tf2")
    add("--workers", type=int, default=1)
    add("--epochs", type=int, default=2)
    add("--seeds", type=int, nargs="+", default=[0])
    add("--validation", metavar="FILE")
    add("--steps-per-execution", type=int, default=1, help="of the plain contestant")
    add("--compile", action="store_true", help="plain PyTorch with torch.compile")
    add("--steps", type=int, help="of an epoch of mirrored")
    add("--cpus", type=int, nargs="+", help="by their place among those there are; two by default")
    add("--bind", action="store_true", help="keep each of Orca's workers to processors of its own")
    add("--meet", type=Path, help="a directory where plain waits for others before it is timed")
    add("--together", type=int, default=2, help="how many meet")
    add("--count-bytes", action="store_true")
    add("--rank", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run one contestant."""
    options = parse()
    # What a contestant starts inherits its processors.
    if hasattr(os, "sched_setaffinity") and options.rank is None:
        there = affinity()
        os.sched_setaffinity(0, [there[i % len(there)] for i in options.cpus or (0, 1)])
    contestants = {"plain": plain, "orca": orca, "mirrored": mirrored, "ddp": ddp}
    run = contestants[options.contestant] if options.rank is None else mirrored_worker
    print(json.dumps({"runs": list(run(options))}))


if __name__ == "__main__":
    main()
