"""What users say of their data."""

from zoo.orca.data.columns import column

__all__ = ["column"]
