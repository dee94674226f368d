"""What a fitted stage tells of its training."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainingSummary:
    """What came of a stage's training.

    Attributes
    ----------
    history : dict of str to list of float
        One value an epoch, by the framework's names: ``loss``, ``val_loss`` and metrics.
    """

    history: dict[str, list[float]] = field(default_factory=dict)

    @property
    def objectiveHistory(self) -> list[float]:
        """The loss of each epoch, by Spark ML's name."""
        return self.history.get("loss", [])

    @property
    def totalIterations(self) -> int:
        """The epochs that were trained, by Spark ML's name."""
        return len(self.objectiveHistory)
