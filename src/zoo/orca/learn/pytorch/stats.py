"""What `fit` returns: a dict that can also be read as Orca's list of epochs."""

from typing import Any

from zoo.orca.learn.results import TrainingStats

#: The history's key for the rows of each epoch over all workers.
_ROWS = "num_samples"


class EpochStats(TrainingStats):
    """The last epoch's values under Orca's names; ``stats[0]`` has those of the first epoch.

    ``stats["train_loss"]`` is the last epoch's loss. For a whole number, ``stats[k]`` is a dict of
    epoch `k` of this call: ``epoch`` (from 1), ``train_loss``, ``num_samples`` and the results of
    validation with ``val_`` names.

    Attributes
    ----------
    history : dict of str to list of float
        One value an epoch.
    """

    def __init__(self, stats: TrainingStats, first_epoch: int) -> None:
        history = {name: values for name, values in stats.history.items() if name != _ROWS}
        super().__init__(history, stats.profiles, stats.order)
        self._first, self._rows = first_epoch, stats.history.get(_ROWS, [])

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int):
            return self.epochs()[key]
        return super().__getitem__(key)

    def epochs(self) -> list[dict[str, float]]:
        """Return one dict for each epoch."""
        return [self._epoch(index) for index in range(len(self._rows))]

    def _epoch(self, index: int) -> dict[str, float]:
        found: dict[str, float] = {"epoch": self._first + index + 1}
        for name, values in self.history.items():
            if len(values) > index:
                found[name if name.startswith("val_") else f"train_{name}"] = values[index]
        return {**found, _ROWS: int(self._rows[index])}


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
