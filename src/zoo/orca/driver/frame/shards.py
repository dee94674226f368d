"""Deals the rows of a frame to shards, and the shards to workers.

`zoo.orca.wire.plans.canonical` says what shards are for. A row's shard is a function of the seed
and of the row's place in the frame: its partition, and its number there. So a frame with the same
partitions is dealt the same way, whatever the workers.
"""

import itertools

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

#: The partition that a row came from.
ORIGIN = "origin"
#: The row's shard; the very last column.
SHARD = "shard"

_MASK = 0xFFFFFFFF
#: The seed of the hash by which Spark chooses partitions.
_SPARK_SEED = 42


def exchanged(frame: DataFrame, shards: int | Column, workers: int, seed: int) -> DataFrame:
    """Return the rows in one partition for each worker, with the columns `ORIGIN` and `SHARD`.

    Worker `w` gets the shards ``w``, ``w + workers``, ``w + 2 * workers``, and so on.
    """
    # The network delivers an exchange's blocks in any order. By their origin the workers put them
    # in the same order every time.
    place = F.xxhash64(F.lit(seed), F.monotonically_increasing_id())
    frame = frame.withColumn(ORIGIN, F.spark_partition_id())
    count = shards if isinstance(shards, Column) else F.lit(shards)
    frame = frame.withColumn(SHARD, F.pmod(place, count).cast("int"))
    # Spark chooses the partition by a hash, so each worker is named by a number with its hash.
    keys = F.array(*map(F.lit, keys_of(workers)))
    # Adaptive execution keeps an explicit number.
    return frame.repartition(workers, F.get(keys, F.col(SHARD) % workers))


def keys_of(partitions: int) -> list[int]:
    """Return, for each partition of an exchange, an ``int`` that Spark puts there."""
    found: dict[int, int] = {}
    numbers = itertools.count()
    while len(found) < partitions:
        number = next(numbers)
        found.setdefault(_signed(_murmur3(number)) % partitions, number)
    return [found[partition] for partition in range(partitions)]


def _murmur3(number: int) -> int:
    """Return the 32-bit MurmurHash3 (Austin Appleby, x86) of four bytes, as Spark seeds it."""
    block = _rotated(number * 0xCC9E2D51 & _MASK, 15) * 0x1B873593 & _MASK
    value = (_rotated(_SPARK_SEED ^ block, 13) * 5 + 0xE6546B64) & _MASK
    value ^= 4  # the number of bytes
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        value = (value ^ value >> shift) * factor & _MASK
    return value ^ value >> 16


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _MASK


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
