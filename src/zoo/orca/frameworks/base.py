"""The seam between the engine and a framework, under the name that plug-ins import."""

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
