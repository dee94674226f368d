"""What every estimator shows and hands over of itself, as one class."""

from zoo.orca.learn.tracking.described import Tabled
from zoo.orca.learn.tracking.packaged import Packaged
from zoo.orca.learn.tracking.summaries import Summaries


class Tracked(Summaries, Tabled, Packaged):
    """Adds summaries for TensorBoard, a table for notebooks, and packing."""
