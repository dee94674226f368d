"""Data in pieces, as the original has it, and what users say of their columns."""

from zoo.orca.data.columns import column
from zoo.orca.data.shard import SharedValue, XShards

__all__ = ["SharedValue", "XShards", "column"]
