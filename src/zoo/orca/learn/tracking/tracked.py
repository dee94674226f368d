"""What every estimator shows of itself, as one class."""

from zoo.orca.learn.tracking.described import Tabled


class Tracked(Tabled):
    """Adds a table for notebooks."""
