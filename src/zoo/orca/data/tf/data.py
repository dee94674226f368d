"""An XShards of arrays in the manner of `tf.data.Dataset`: functions on single elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.orca.data.shard.xshards import XShards
from zoo.orca.errors import InvalidInputError
from zoo.orca.worker.shards.elements import MapElements, pair_of


class Dataset:
    """Elements of an XShards of arrays, for an estimator.

    `Dataset.from_tensor_slices` makes one. The functions of `map` run in `tf.data` on the
    executors, before rows go to the workers: once for each row, however many epochs there are.
    """

    def __init__(self, shards: XShards) -> None:
        self._shards = shards

    @staticmethod
    def from_tensor_slices(xshards: XShards) -> Dataset:
        """Return the elements of shards that are arrays, or nested tuples and dicts of them.

        Parameters
        ----------
        xshards : XShards
            The first axis of each array is the elements.
        """
        if not isinstance(xshards, XShards):
            raise InvalidInputError(
                f"from_tensor_slices takes an XShards, got a {type(xshards).__name__}\n"
                "Make one with XShards.partition"
            )
        return Dataset(xshards)

    def map(self, map_func: Callable[..., Any]) -> Dataset:
        """Apply a function to each element, as `tf.data.Dataset.map` does.

        Parameters
        ----------
        map_func : callable
            Gets an element's tensors: one, those of a tuple as several arguments, or a dict. It is
            traced by TensorFlow.
        """
        if not callable(map_func):
            raise InvalidInputError(
                f"map takes a function, got {map_func!r}\nWrite map(lambda x, y: (x / 255, y))"
            )
        return Dataset(self._shards._with(MapElements(map_func), "map_func"))

    def get_xshards(self) -> XShards:
        """Return the shards as an estimator takes them: ``{"x": inputs, "y": labels}``."""
        return self._shards._with(pair_of)
