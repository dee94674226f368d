"""The seam between the engine and a framework, under the name plug-ins know it by."""

from zoo.orca.worker.plugin import (
    Built,
    Columns,
    Evaluated,
    Framework,
    Predictor,
    Rows,
    Trained,
    World,
)

__all__ = [
    "Built",
    "Columns",
    "Evaluated",
    "Framework",
    "Predictor",
    "Rows",
    "Trained",
    "World",
]
