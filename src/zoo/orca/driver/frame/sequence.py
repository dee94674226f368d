"""Puts the rows of a frame into one sequence, a part of which each worker gets.

A row's place is a hash of the seed and of what is in the row. It depends neither on the workers nor
on the partitions of the frame, which change with the size of a cluster. Rows that are equal have
the same place, and it does not matter which of them comes first.
"""

import itertools
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

#: The partition that a row came from.
ORIGIN = "origin"
#: The row's place in the sequence, an ``int64``; the very last column.
PLACE = "place"

_MASK = 0xFFFFFFFF
#: The seed of the hash by which Spark chooses partitions.
_SPARK_SEED = 42


def exchanged(
    frame: DataFrame,
    columns: Sequence[str],
    shards: int | Column,
    workers: int,
    seed: int,
    sent: Sequence[Column] = (),
) -> DataFrame:
    """Return the rows in one partition for each worker, with the columns `ORIGIN` and `PLACE`.

    Parameters
    ----------
    frame : DataFrame
    columns : sequence of str
        What makes the place of a row.
    shards : int or Column
        The parts, of about the same number of rows, that are not divided between workers.
    workers, seed : int
    sent : sequence of Column
        What moves, if it is not `frame` as it is.
    """
    # The network delivers an exchange's blocks in any order. By their origin the workers put them
    # in the same order every time.
    frame = frame.withColumn(ORIGIN, F.spark_partition_id())
    frame = frame.withColumn(PLACE, F.xxhash64(F.lit(seed), *columns))
    if sent:
        frame = frame.select(*sent, ORIGIN, PLACE)
    # Spark chooses the partition by a hash, so each worker is named by a number with its hash.
    keys = F.array(*map(F.lit, keys_of(workers)))
    # Adaptive execution keeps an explicit number.
    return frame.repartition(workers, F.get(keys, _worker(F.col(PLACE), shards, workers)))


def _worker(place: Column, shards: int | Column, workers: int) -> Column:
    """Return the rank that holds a place, by `zoo.orca.wire.plans.canonical.first_shard`."""
    count = shards if isinstance(shards, Column) else F.lit(shards)
    # Places are signed. Their upper half, from 0 on, leaves room to multiply.
    upper = F.shiftright(place, 33) + F.lit(1 << 30)
    shard = F.shiftright(upper * count, 31)
    return (F.floor(((shard + 1) * workers - 1) / count)).cast("int")


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
