"""What `fit` returns."""

from collections.abc import Mapping


class TrainingStats(dict[str, float]):
    """The last epoch's values under Orca's names, and every epoch's under Keras's.

    ``stats["train_loss"]`` and ``stats["train_val_loss"]`` are the last values of ``loss`` and
    ``val_loss``.

    Attributes
    ----------
    history : dict of str to list of float
        One value an epoch, by Keras's names.
    """

    def __init__(self, history: Mapping[str, list[float]]) -> None:
        super().__init__(
            {f"train_{name}": values[-1] for name, values in history.items() if values}
        )
        self.history = {name: list(values) for name, values in history.items()}
