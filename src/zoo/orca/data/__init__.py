"""Data in pieces, as the original has it, and what users say of their columns.

Importing this package imports neither Spark nor pandas: `XShards` is looked up when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo.orca.data.columns import column

if TYPE_CHECKING:
    from zoo.orca.data.shard import SharedValue, XShards

__all__ = ["SharedValue", "XShards", "column"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("zoo.orca.data.shard"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
