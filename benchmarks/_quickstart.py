"""The quick start as a whole program, in Orca or the framework alone, with the time of each phase.

python benchmarks/_quickstart.py plain|orca DIRECTORY [--framework NAME] [--workers N]
                                 [--no-archive] [--batch N] [--epochs N]

DIRECTORY has train.parquet and test.parquet. Both programs start a Spark session, read both, train
with a validation after each epoch, save, and evaluate. The last line is a JSON object with the
seconds of each phase; they add up to `total`, which begins with the first import. What plain Keras
waits for tf.data to end stands beside them, as `wait`: see `Phases.left_fit`.
"""

import time

BEGAN = time.time()

import argparse  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from _clocks import (  # noqa: E402
    Seen,
    ShippedClock,
    epoch_seconds,
    make_clock,
    read_seen,
    validation_seconds,
)
from _models import MODELS  # noqa: E402

COLUMNS = ["user", "item", "label"]


class Phases:
    """Seconds by phase; each begins where the one before it ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._wait = 0.0
        self._last = BEGAN

    def end(self, name: str) -> None:
        """Give a phase the time since the last one."""
        now = time.time()
        self.seconds[name] = now - self._last
        self._last = now

    def trained(self, seen: list[Seen]) -> None:
        """Split what has passed into what the workers saw of it."""
        began = max(worker["began"] for worker in seen)
        ended = max(worker["ended"] for worker in seen)
        epochs, validations = epoch_seconds(seen), validation_seconds(seen)
        self.seconds["until training begins"] = began - self._last
        steady = epochs[-1]
        # What the first epoch costs beyond a later one: tracing, the first step, caches.
        self.seconds["first step"] = max(0.0, epochs[0] - steady)
        self.seconds["epochs"] = sum(epochs) - self.seconds["first step"]
        self.seconds["validation"] = sum(validations)
        self.seconds["between epochs"] = ended - began - sum(epochs) - sum(validations)
        self.seconds["after training"] = time.time() - ended
        self._last = time.time()

    def left_fit(self) -> None:
        """Take what plain Keras's `fit` did after training out of the phases and their total.

        That is one wait. `fit` builds a `tf.data` pipeline on the arrays, whose autotuner sleeps
        10 ms, then 20, 40, ..., up to a minute. The pipeline's end wakes it, but marks itself as
        ended only after that; an autotuner that looks in between sleeps on to its next turn, and
        `fit` with it: after six seconds of training for four more, idle. Who comes first is
        chance, so the total of a run with the wait says nothing about one without.
        """
        self._wait += self.seconds.pop("after training")

    def result(self, rows: int, last_epoch: float, value: float) -> dict[str, Any]:
        """Return what the program prints."""
        self.seconds["total"] = self._last - BEGAN - self._wait
        measured = {"rows_per_s": rows / last_epoch, "val_loss": value, "wait": self._wait}
        return {"phases": self.seconds, **measured}


def plain(options: argparse.Namespace) -> dict[str, Any]:
    """Collect the rows, then train with the framework alone."""
    phases = Phases()
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[2]").config("spark.driver.memory", "2g")
    session = session.config("spark.ui.enabled", "false")
    # Rows come as Arrow: without it, `toPandas` pickles them one by one.
    spark = session.config("spark.sql.execution.arrow.pyspark.enabled", "true").getOrCreate()
    phases.end("session")
    frames = [spark.read.parquet(str(path)) for path in options.files]
    phases.end("read")
    (features, labels), test = (_arrays(frame.toPandas()) for frame in frames)
    phases.end("rows")
    if options.framework == "pytorch":
        value, last = train_pytorch(options, phases, [*features, labels], [*test[0], test[1]])
    else:
        value, last = train_keras(options, phases, (features, labels), test)
    phases.end("evaluate")
    return phases.result(len(labels), last, value)


def train_keras(
    options: argparse.Namespace, phases: Phases, train: Any, test: Any
) -> tuple[float, float]:
    """Train, save and evaluate with Keras; return the validation loss and the last epoch's time."""
    if options.framework == "tf2":
        from tensorflow import keras
    else:
        # Keras 3 looks at it when it is imported, and never again.
        os.environ["KERAS_BACKEND"] = options.framework.partition("-")[2]
        import keras
    keras.Model  # noqa: B018  TensorFlow loads Keras when it is first asked for.
    phases.end("framework import")
    keras.utils.set_random_seed(0)
    model = MODELS["ncf"].creator(options.framework)(options.config)
    with tempfile.TemporaryDirectory() as clocks:
        history = model.fit(
            *train,
            batch_size=options.batch,
            epochs=options.epochs,
            validation_data=test,
            verbose=0,
            callbacks=[make_clock(clocks, options.framework)],
        ).history
        seen = read_seen(clocks)
    phases.trained(seen)
    phases.left_fit()
    model.save(options.directory / "plain.keras")
    phases.end("save")
    model.evaluate(*test, batch_size=options.batch, verbose=0)
    return history["val_loss"][-1], epoch_seconds(seen)[-1]


def train_pytorch(
    options: argparse.Namespace, phases: Phases, train: list[Any], test: list[Any]
) -> tuple[float, float]:
    """Train, save and evaluate with PyTorch; as `train_keras`."""
    import torch
    from _loop_pytorch import evaluate
    from _loop_pytorch import train as train_model
    from _models_pytorch import OPTIMIZERS

    phases.end("framework import")
    torch.manual_seed(0)
    columns, validation = (
        [torch.from_numpy(array[:, 0].copy()) for array in arrays] for arrays in (train, test)
    )
    columns[-1], validation[-1] = columns[-1].long(), validation[-1].long()
    model = MODELS["ncf"].creator("pytorch")(options.config)
    optimizer = OPTIMIZERS["ncf"](model, options.config)
    began = time.time()
    settings = (options.batch, options.epochs, validation)
    history, epochs, validations = train_model("ncf", model, optimizer, columns, *settings)
    seen: Seen = {"began": began, "epochs": epochs, "validations": validations}
    phases.trained([seen | {"ended": time.time()}])
    torch.save(model.state_dict(), options.directory / "plain.pt")
    phases.end("save")
    evaluate("ncf", model, validation)
    return history["val_loss"][-1], epochs[-1][1] - epochs[-1][0]


def orca(options: argparse.Namespace) -> dict[str, Any]:
    """Train on the DataFrames."""
    phases = Phases()
    from zoo.orca import OrcaContext, init_orca_context

    # "true" also where a program would leave none behind, as in a container.
    conf = {"spark.orca.class.archive": "true" if options.archive else "false"}
    init_orca_context("local", cores=2, memory="2g", conf=conf)
    spark = OrcaContext.get_spark_session()
    phases.end("session")
    train, test = (spark.read.parquet(str(path)) for path in options.files)
    phases.end("read")
    est = make_estimator(options)
    columns = {"feature_cols": COLUMNS[:2], "label_cols": COLUMNS[2:]}
    quiet = {} if options.framework == "pytorch" else {"verbose": 0}
    with tempfile.TemporaryDirectory() as clocks:
        stats = est.fit(
            train,
            epochs=options.epochs,
            batch_size=options.batch,
            validation_data=test,
            callbacks=[ShippedClock(clocks, options.framework)],
            **columns,
            **quiet,
        )
        seen = read_seen(clocks)
    phases.trained(seen)
    est.save(os.path.join(options.directory, "orca.safetensors"))
    phases.end("save")
    est.evaluate(test, batch_size=options.batch, **columns, **quiet)
    phases.end("evaluate")
    last = epoch_seconds(seen)[-1]
    return phases.result(options.rows, last, stats.history["val_loss"][-1])


def make_estimator(options: argparse.Namespace) -> Any:
    """Return Orca's estimator, as the example makes it."""
    framework, _, backend = options.framework.partition("-")
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    models = importlib.import_module(f"models_{framework}")
    return models.ncf_estimator(options.config, options.workers, 0)


def _arrays(table: Any) -> tuple[list[Any], Any]:
    user, item, label = (table[name].to_numpy().reshape(-1, 1) for name in COLUMNS)
    return [user, item], label


def main() -> None:
    """Run one program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=["plain", "orca"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--framework", default="tf2")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--no-archive", dest="archive", action="store_false")
    parser.add_argument("--batch", type=int, default=1280)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rows", type=int, required=True, help="in train.parquet")
    parser.add_argument("--config", type=json.loads, required=True)
    options = parser.parse_args()
    options.files = [options.directory / f"{name}.parquet" for name in ("train", "test")]
    print(json.dumps({"plain": plain, "orca": orca}[options.program](options)))


if __name__ == "__main__":
    main()
