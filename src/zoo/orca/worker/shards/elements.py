"""Functions on single elements of a shard, run by `tf.data` on an executor."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo.orca.errors import DataError
from zoo.orca.worker.shards.pieces import rows_of


@dataclass(frozen=True, slots=True)
class MapElements:
    """Maps each element of a shard of arrays; elements are stacked again.

    Parameters
    ----------
    function : callable
        Gets tensors: one, those of a tuple, or a dict of them.
    """

    function: Callable[..., Any]

    def __call__(self, shard: Any) -> Any:
        """Return the arrays of the new elements."""
        import tensorflow as tf

        rows = rows_of(shard)
        if rows is None:
            raise DataError(
                f"the shard is a {type(shard).__name__} without a common number of rows\n"
                "from_tensor_slices takes shards of arrays, or tuples and dicts of them"
            )
        # Not the GPUs: they are the training's.
        with tf.device("CPU:0"):
            elements = tf.data.Dataset.from_tensor_slices(shard).map(self.function)
            if not rows:
                return tf.nest.map_structure(_nothing, elements.element_spec)
            batch = next(iter(elements.batch(rows)))
            return tf.nest.map_structure(lambda tensor: tensor.numpy(), batch)


def _nothing(spec: Any) -> Any:
    import numpy as np

    return np.zeros((0, *(length or 0 for length in spec.shape)), spec.dtype.as_numpy_dtype)


def pair_of(shard: Any) -> Any:
    """Return a shard as an estimator takes it: a tuple is inputs and labels."""
    if isinstance(shard, dict) and "x" in shard:
        return shard
    if isinstance(shard, (tuple, list)) and len(shard) == 2:
        return {"x": shard[0], "y": shard[1]}
    if isinstance(shard, (tuple, list)):
        raise DataError(
            f"an element has {len(shard)} parts\n"
            "Let it be (inputs, labels); several inputs are a tuple within: ((a, b), label)"
        )
    return {"x": shard}
