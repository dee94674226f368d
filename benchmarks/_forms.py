"""One contestant of forms.py: trains the NCF on forms of the same rows; prints one JSON line.

python benchmarks/_forms.py plain|orca FILE --framework tf2|keras-jax|pytorch --kinds FORM ...

The line has the seconds of each epoch, by form. "plain" is the framework alone on the loader that
"loader" gives to Orca's creator.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _clocks import ShippedClock, epoch_seconds, make_clock, read_seen
from _models import MODELS, Config
from _train import Fit, affinity, make_estimator

FORMS = ("loader", "DataFrame", "pandas", "XShards")
#: What the framework alone trains on.
ALONE = "loader, framework alone"
#: Epochs of rows in memory for one of a loader's: one of them takes some tenths of a second.
TIMES_AS_MANY = 5
_NCF = MODELS["ncf"]


def torch_loader(config: Config, batch_size: int) -> Any:
    """Return a DataLoader over rows in memory, in a new order each epoch."""
    from _loop_pytorch import tensors
    from torch.utils.data import DataLoader, TensorDataset

    rows = TensorDataset(*tensors("ncf", Path(config["file"])))
    return DataLoader(rows, batch_size=batch_size, shuffle=True)


def tf_loader(config: Config, batch_size: int) -> Any:
    """Return a pipeline over rows in memory, in a new order each epoch."""
    import tensorflow as tf

    features, label = _NCF.arrays(Path(config["file"]))
    rows = tf.data.Dataset.from_tensor_slices((tuple(features), label))
    return rows.shuffle(len(label)).batch(batch_size).prefetch(tf.data.AUTOTUNE)


LOADERS: dict[str, Callable[[Config, int], Any]] = {
    "tf2": tf_loader,
    "keras-jax": tf_loader,
    "pytorch": torch_loader,
}


def plain(fit: Fit, options: argparse.Namespace) -> dict[str, list[float]]:
    """Train with the framework alone, on the loader."""
    if backend := options.framework.partition("-")[2]:
        # Keras 3 looks at it when it is imported, and never again.
        os.environ["KERAS_BACKEND"] = backend
    config = {**fit.config, "file": str(fit.train)}
    batches = LOADERS[options.framework](config, fit.batch)
    model = _NCF.creator(options.framework)(config)
    if options.framework == "pytorch":
        return {ALONE: list(_plain_pytorch(model, config, batches, options.epochs))}
    with tempfile.TemporaryDirectory() as clocks:
        clock = make_clock(clocks, options.framework)
        model.fit(batches, epochs=options.epochs, verbose=0, callbacks=[clock])
        return {ALONE: epoch_seconds(read_seen(clocks))}


def _plain_pytorch(model: Any, config: Config, batches: Any, epochs: int) -> Iterator[float]:
    import torch
    from _models_pytorch import LOSSES, OPTIMIZERS

    torch.set_num_threads(len(affinity()))
    optimizer, loss_of = OPTIMIZERS["ncf"](model, config), LOSSES["ncf"]()
    for _ in range(epochs):
        began = time.time()
        # Summed as tensors: to read a number in every step would wait for it.
        total, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for *features, labels in batches:
            optimizer.zero_grad(set_to_none=True)
            outputs = model(*features)
            loss = loss_of(outputs, labels)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(labels)
            correct += (outputs.argmax(1) == labels).sum()
        total.item(), correct.item()
        yield time.time() - began


def orca(fit: Fit, options: argparse.Namespace) -> dict[str, list[float]]:
    """Train with Orca on one form after another."""
    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

    init_orca_context("local", cores=max(options.workers, len(affinity())), memory="4g")
    frame = OrcaContext.get_spark_session().read.parquet(str(fit.train))
    quiet = {} if options.framework == "pytorch" else {"verbose": 0}
    seconds = {}
    for form in options.kinds:
        columns = {"feature_cols": _NCF.features, "label_cols": [_NCF.label]}
        with tempfile.TemporaryDirectory() as clocks:
            make_estimator(fit, options).fit(
                _data(form, frame, fit, options.framework),
                epochs=options.epochs * (1 if form == "loader" else TIMES_AS_MANY),
                batch_size=fit.batch,
                callbacks=[ShippedClock(clocks, options.framework)],
                **({} if form == "loader" else columns),
                **quiet,
            )
            seconds[form] = epoch_seconds(read_seen(clocks))
    stop_orca_context()
    return seconds


def _data(form: str, frame: Any, fit: Fit, framework: str) -> Any:
    """Return the rows in a form."""
    if form == "loader":
        # The file is named by an object: `config` is the estimator's.
        return _FromFile(LOADERS[framework], str(fit.train))
    if form == "pandas":
        return frame.toPandas()
    if form == "XShards":
        from zoo.orca.data.pandas import read_parquet

        return read_parquet(str(fit.train))
    return frame


class _FromFile:
    """A creator whose loader reads a file."""

    def __init__(self, creator: Callable[[Config, int], Any], file: str) -> None:
        self._creator, self._file = creator, file

    def __call__(self, config: Config, batch_size: int) -> Any:
        return self._creator({**config, "file": self._file}, batch_size)


def main() -> None:
    """Run one contestant."""
    parser = argparse.ArgumentParser()
    parser.add_argument("contestant", choices=["plain", "orca"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--framework", choices=list(LOADERS), default="tf2")
    parser.add_argument("--kinds", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--batch", type=int, default=1280)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    options.bind = False
    if hasattr(os, "sched_setaffinity"):
        there = affinity()
        os.sched_setaffinity(0, [there[i % len(there)] for i in (0, 1)])
    fit = Fit(_NCF, options.file, None, options.batch, 0)
    train = {"plain": plain, "orca": orca}[options.contestant]
    print(json.dumps({"seconds": train(fit, options)}))


if __name__ == "__main__":
    main()
