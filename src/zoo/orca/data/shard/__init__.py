"""Shards: a collection of Python values spread over the cluster."""

from zoo.orca.data.shard.xshards import SparkXShards, XShards
from zoo.orca.wire.shards.shared import SharedValue

__all__ = ["SharedValue", "SparkXShards", "XShards"]
