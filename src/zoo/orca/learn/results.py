"""What `fit` returns."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.orca.learn.tracking.shown import Curves, epochs_of_values


class TrainingStats(Curves, dict[str, float]):
    """The last epoch's values under Orca's names, and all epochs' under Keras's names.

    ``stats["train_loss"]`` and ``stats["train_val_loss"]`` are the last values of ``loss`` and
    ``val_loss``. ``stats[0]`` is the same: the original has a list of one.

    Attributes
    ----------
    history : dict of str to list of float
        One value an epoch, by Keras's names.
    profiles : list of dict
        With ``fit(profile=True)``, one dict per rank: ``phases``, seconds by name; and ``parts``,
        seconds by name, summed over the ``steps`` that were timed. Else empty.
    order : str
        "canonical" if the rows of each step are the same for any number of workers. "as placed" if
        they depend on the workers: the rows stayed where they lay, or they were more than memory
        holds.
    """

    def __init__(
        self,
        history: Mapping[str, list[float]],
        profiles: Sequence[dict[str, Any]] = (),
        order: str = "as placed",
        *,
        first_epoch: int = 0,
        validation_freq: int | Sequence[int] = 1,
    ) -> None:
        super().__init__(
            {f"train_{name}": values[-1] for name, values in history.items() if values}
        )
        self.history = {name: list(values) for name, values in history.items()}
        self.profiles = list(profiles)
        self.order = order
        self._first, self._validated = first_epoch, validation_freq

    def epochs_of(self, name: str) -> list[int]:
        """Return the number of the epoch, counted from 1, of each value that a name has."""
        frequency = self._validated if name.startswith("val_") else 1
        return epochs_of_values(len(self.history.get(name, [])), self._first, frequency)

    def __missing__(self, key: object) -> "TrainingStats":
        # The original wraps it in a list for a DataFrame.
        if key == 0 and not isinstance(key, bool):
            return self
        raise KeyError(key)
