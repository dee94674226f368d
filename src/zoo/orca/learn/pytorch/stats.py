"""What `fit` returns: Orca's list of epochs, which also answers to the names of the last one."""

import re
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from typing import Any

import numpy as np

from zoo.orca.learn.results import TrainingStats
from zoo.orca.learn.tracking.shown import Curves

#: The name of one number of a curve: the metric, the axis, the place.
_POINT = re.compile(r"(.*)\[(\w+)\]\[(\d+)\]")
#: The history's key for the rows of each epoch over all workers.
_ROWS = "num_samples"


class EpochStats(Curves, list[dict[str, float]]):
    """One dict for each epoch of this call, as in Orca; a name gives the last epoch's value.

    An epoch's dict has ``epoch`` (from 1), ``train_loss``, ``num_samples``, metrics of training
    with ``train_`` names and the results of validation with ``val_`` names. As with all frameworks,
    ``stats["train_loss"]`` and ``stats["train_val_loss"]`` are those of the last epoch; `keys`,
    `items`, `values` and `get` go by these names.

    Attributes
    ----------
    history : dict of str to list of float
        One value an epoch.
    profiles : list of dict
        As in `TrainingStats`.
    order : str
        As in `TrainingStats`.
    """

    def __init__(self, stats: TrainingStats, first_epoch: int) -> None:
        history = {name: values for name, values in stats.history.items() if name != _ROWS}
        self._last = TrainingStats(history, stats.profiles, stats.order, first_epoch=first_epoch)
        self.history = self._last.history
        self.profiles, self.order = stats.profiles, stats.order
        rows = stats.history.get(_ROWS, [])
        super().__init__(self._epoch(k, first_epoch, int(count)) for k, count in enumerate(rows))

    def __getitem__(self, key: Any) -> Any:
        return self._last[key] if isinstance(key, str) else super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        return key in self._last if isinstance(key, str) else super().__contains__(key)

    def keys(self) -> KeysView[str]:
        """Return the names of the last epoch's values."""
        return self._last.keys()

    def values(self) -> ValuesView[float]:
        """Return the last epoch's values."""
        return self._last.values()

    def items(self) -> ItemsView[str, float]:
        """Return the last epoch's values with their names."""
        return self._last.items()

    def get(self, key: str, default: Any = None) -> Any:
        """Return one of the last epoch's values."""
        return self._last.get(key, default)

    def epochs_of(self, name: str) -> list[int]:
        """Return the number of the epoch, counted from 1, of each value that a name has."""
        return self._last.epochs_of(name)

    def epochs(self) -> list[dict[str, float]]:
        """Return one dict for each epoch."""
        return list(self)

    def _epoch(self, index: int, first: int, rows: int) -> dict[str, float]:
        found: dict[str, float] = {"epoch": first + index + 1}
        for name, values in self.history.items():
            if len(values) > index:
                found[name if name.startswith("val_") else f"train_{name}"] = values[index]
        return {**found, _ROWS: rows}


def by_worker(stats: TrainingStats, first_epoch: int) -> list[list[dict[str, float]]]:
    """Return, for each epoch, one dict for each worker, as with ``reduce_results=False``.

    Loss and rows are the worker's own; metrics and results of validation are those of all workers.
    """
    epochs: list[list[dict[str, float]]] = []
    shared = {
        name: values for name, values in stats.history.items() if not name.startswith("worker_")
    }
    workers = sum(name.endswith(f"_{_ROWS}") for name in stats.history)
    for index in range(len(stats.history["worker_0_loss"])):
        common: dict[str, float] = {
            name if name.startswith("val_") else f"train_{name}": values[index]
            for name, values in shared.items()
            if name not in ("loss", _ROWS)
        }
        epochs.append(
            [
                {
                    "epoch": first_epoch + index + 1,
                    "train_loss": stats.history[f"worker_{rank}_loss"][index],
                    "num_samples": stats.history[f"worker_{rank}_num_samples"][index],
                    **common,
                }
                for rank in range(workers)
            ]
        )
    return epochs


def evaluation(values: Mapping[str, float]) -> dict[str, Any]:
    """Return the results of `evaluate` under the names of all frameworks, and under Orca's."""
    whole = _with_curves(values)
    found: dict[str, Any] = {f"validation_{n}": v for n, v in whole.items() if n != _ROWS}
    for name, value in whole.items():
        if name == _ROWS:
            found[name] = int(value)
        else:
            found["val_loss" if name == "loss" else name] = value
    return found


def _with_curves(values: Mapping[str, float]) -> dict[str, Any]:
    """Put the numbers of curves, which workers send one by one, together into arrays."""
    found: dict[str, Any] = {}
    points: dict[str, dict[str, list[float]]] = {}
    for name, value in values.items():
        place = _POINT.fullmatch(name)
        if place is None:
            found[name] = value
        else:
            curve = found.setdefault(place[1], points.setdefault(place[1], {}))
            curve.setdefault(place[2], []).append(value)
    for curve, axes in points.items():
        found[curve] = {axis: np.array(numbers) for axis, numbers in axes.items()}
    return found
