"""Callbacks that measure a training from inside, the same ones for every contestant.

They have no hooks for batches, and leave logs as they are: nothing is done for their sake in a
step. Each process writes what it saw to a file of its own in a directory that all of them reach.
"""

# Annotations inside functions that travel to the workers must not be looked up there.
from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Seen = dict[str, Any]


def make_clock(directory: str | os.PathLike[str], framework: str = "tf2") -> Any:
    """Return a callback that writes when each epoch and each validation began and ended.

    What it writes is in seconds since the epoch of the system's clock, so that it can be laid
    beside the driver's own times.
    """
    directory = os.fspath(directory)

    class Clock(_callback(framework)):  # type: ignore[misc]
        _supports_tf_logs = True

        def on_train_begin(self, logs: Any = None) -> None:
            self.seen: Seen = {"began": time.time(), "epochs": [], "validations": []}

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = [time.time(), 0.0]
            self.seen["epochs"].append(self.epoch)

        def on_test_begin(self, logs: Any = None) -> None:
            # Keras validates within the epoch, after its last step.
            self.epoch[1] = time.time()
            self.validation = [time.time(), 0.0]
            self.seen["validations"].append(self.validation)

        def on_test_end(self, logs: Any = None) -> None:
            self.validation[1] = time.time()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.epoch[1] = self.epoch[1] or time.time()

        def on_train_end(self, logs: Any = None) -> None:
            self.seen["ended"] = time.time()
            path = os.path.join(directory, f"{os.getpid()}.json")
            with open(path, "w") as file:
                json.dump(self.seen, file)

        # Orca's names in PyTorch; each gets the runner.
        before_run, after_run = on_train_begin, on_train_end
        before_train_epoch, after_train_epoch = on_epoch_begin, on_epoch_end
        before_val_epoch, after_val_epoch = on_test_begin, on_test_end

    return Clock()


def _callback(framework: str) -> type:
    """Return the class of a framework's callbacks."""
    if framework == "pytorch":
        from zoo.orca.learn.pytorch.callbacks import Callback
    elif framework == "tf2":
        from tensorflow.keras.callbacks import Callback
    else:
        from keras.callbacks import Callback
    return Callback  # type: ignore[no-any-return]


class ShippedClock:
    """Becomes a clock where it is unpickled, on a worker: the driver needs no TensorFlow for it."""

    def __init__(self, directory: str | os.PathLike[str], framework: str = "tf2") -> None:
        self._made_of = os.fspath(directory), framework

    def __reduce__(self) -> Any:
        return make_clock, self._made_of


def read_seen(directory: str | os.PathLike[str]) -> list[Seen]:
    """Return what each process wrote, and forget it.

    Raises
    ------
    SystemExit
        If nobody wrote anything: then nothing was measured.
    """
    files = sorted(Path(directory).glob("*.json"))
    seen = [json.loads(file.read_text()) for file in files]
    for file in files:
        file.unlink()
    if not seen:
        raise SystemExit("no worker wrote down what it saw")
    return seen


def epoch_seconds(seen: list[Seen]) -> list[float]:
    """Return each epoch's seconds, without its validation, of the slowest worker."""
    return _slowest(seen, "epochs")


def validation_seconds(seen: list[Seen]) -> list[float]:
    """Return each validation's seconds, of the slowest worker."""
    return _slowest(seen, "validations")


def _slowest(seen: list[Seen], what: str) -> list[float]:
    workers = [[end - begin for begin, end in worker[what]] for worker in seen]
    return [max(spans) for spans in zip(*workers, strict=True)]
