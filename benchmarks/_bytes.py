"""What a training sends: the payload handed to the collective, and the bytes on a network card.

Payload, counted for one worker of p: an all-reduce of n bytes is 2 n (p - 1) / p, the least with
which it can be done (n for two workers, who each send all of it); an all-gather is what the worker
contributes, times p - 1. Headers of messages are not counted here; the card counts them.

The least possible is counted beside it: dense gradients as an all-reduce, and of sparse ones each
distinct row that the worker's share of the step touched, as float32 and without its number, once
to every other worker.
"""

# Annotations inside functions that travel to the workers must not be looked up there.
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

#: What is counted of a run.
BYTES_OF_RUN = ("calls", "sent", "least", "rows")


class Counting:
    """A collective that counts what is handed to it."""

    def __init__(self, collective: Any, totals: dict[str, float]) -> None:
        self.collective, self._totals = collective, totals

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collective, name)

    def all_reduce(self, array: Any) -> None:
        self._totals["sent"] += _reduced(array.nbytes, self.collective.size)
        self.collective.all_reduce(array)

    def all_gather(self, data: Any, merge: Any = None) -> Any:
        self._totals["sent"] += memoryview(data).nbytes * (self.collective.size - 1)
        return self.collective.all_gather(data, merge)


def make_counter(directory: str | os.PathLike[str]) -> Any:
    """Return a callback that counts what its worker's gradients send in the first epoch."""
    import tensorflow as tf

    directory = os.fspath(directory)

    class Counter(tf.keras.callbacks.Callback):
        _supports_tf_logs = True

        def on_train_begin(self, logs: Any = None) -> None:
            self.totals = dict.fromkeys(BYTES_OF_RUN, 0.0)
            self.restore = count_sums(self.totals)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            # Counting takes time, and the first epoch is the one that is never timed.
            self.restore()

        def on_train_end(self, logs: Any = None) -> None:
            with open(os.path.join(directory, f"{os.getpid()}.json"), "w") as file:
                json.dump(self.totals, file)

    return Counter()


def count_sums(totals: dict[str, float]) -> Any:
    """Count every sum of gradients from here on in this process; return what ends it."""
    from zoo.orca.frameworks.gradients.fused_sum import FusedSum

    original = FusedSum.packed
    counting = []

    def counted(self: Any, rows: int, of: int, *arrays: Any) -> Any:
        if not isinstance(self._collective, Counting):
            self._collective = Counting(self._collective, totals)
            counting.append(self)
        dense, touched = least_of(arrays)
        totals["calls"] += 1
        totals["rows"] += touched
        size = self._collective.size
        totals["least"] += _reduced(dense, size) + touched * (size - 1)
        return original(self, rows, of, *arrays)

    FusedSum.packed = counted  # type: ignore[method-assign]

    def restore() -> None:
        FusedSum.packed = original  # type: ignore[method-assign]
        while counting:
            one = counting.pop()
            one._collective = one._collective.collective

    return restore


def least_of(arrays: tuple[Any, ...]) -> tuple[int, int]:
    """Return the bytes of the dense gradients, and of the distinct rows of the sparse ones.

    A sparse gradient is its values and, next to them, the numbers of its rows.
    """
    dense = touched = 0
    given = [np.asarray(array) for array in arrays]
    for array, following in zip(given, [*given[1:], np.zeros(0)], strict=True):
        if array.dtype.kind in "iu":
            continue
        if following.dtype.kind in "iu":
            row = int(np.prod(array.shape[1:])) * 4
            touched += len(np.unique(following)) * row
        else:
            dense += array.nbytes
    return dense, touched


def read_counts(directory: str | os.PathLike[str]) -> list[dict[str, float]]:
    """Return what each worker counted.

    Raises
    ------
    SystemExit
        If a worker counted nothing: then the gradients do not go where this looks.
    """
    counts = [json.loads(file.read_text()) for file in sorted(Path(directory).glob("*.json"))]
    if not counts or not all(count["calls"] and count["sent"] for count in counts):
        raise SystemExit(f"no bytes were counted: {counts}")
    return counts


def make_card_reader(directory: str | os.PathLike[str], card: str) -> Any:
    """Return a callback that writes the bytes that a network card has sent in each epoch."""
    import tensorflow as tf

    directory = os.fspath(directory)

    class CardReader(tf.keras.callbacks.Callback):
        _supports_tf_logs = True

        def on_train_begin(self, logs: Any = None) -> None:
            self.sent: list[int] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.before = card_sent(card)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.sent.append(card_sent(card) - self.before)

        def on_train_end(self, logs: Any = None) -> None:
            with open(os.path.join(directory, f"{os.getpid()}.json"), "w") as file:
                json.dump(self.sent, file)

    return CardReader()


def card_sent(card: str) -> int:
    """Return the bytes that a network card of this process's namespace has sent."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == card:
            return int(numbers.split()[8])
    raise OSError(f"there is no network card {card}")


def _reduced(nbytes: int, size: int) -> float:
    return 2 * nbytes * (size - 1) / size
