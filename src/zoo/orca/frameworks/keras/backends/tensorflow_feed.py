"""Rows as a `tf.data.Dataset` of steps in the plan's order.

Python gathers several steps at once in a thread of `tf.data`, ahead of the training. TensorFlow
splits them into single steps, so no Python runs per step.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.feed import AHEAD, Counted, StepFeed


class DatasetFeed(StepFeed):
    """Data sets of steps over one rank's rows."""

    def tensor(self, values: NDArray[Any]) -> Any:
        """Return an array as a tensor."""
        return tf.convert_to_tensor(values)

    def steps(self, start: Callable[[], int], count: int) -> Any:
        """Return a data set of `count` steps; `start` is called whenever it begins."""
        arrays = {
            name: tf.TensorSpec((None, None, *values.shape[1:]), _dtype(values))
            for name, values in self._steps.sample().items()
        }
        numbers = tf.TensorSpec((None,), tf.int64)
        chunks = tf.data.Dataset.from_generator(
            lambda: map(tuple, self._steps.take(start(), count)),
            output_signature=(arrays, numbers, numbers),
        )
        # Single steps are not prefetched, because passing one on costs more than slicing it.
        # AutoGraph on these functions would take longer than running them.
        cut = tf.autograph.experimental.do_not_convert(self._cut)
        steps = chunks.prefetch(AHEAD).flat_map(cut)
        steps = steps.apply(tf.data.experimental.assert_cardinality(count))
        return steps.with_options(_options())

    def _cut(self, arrays: dict[str, Any], rows: tf.Tensor, of: tf.Tensor) -> Structure:
        """Split a chunk into its steps."""
        if not self._steps.is_ragged:
            return tf.data.Dataset.from_tensor_slices(self._batch(arrays, rows, of))

        def batch(arrays: dict[str, Any], rows: tf.Tensor, of: tf.Tensor) -> Structure:
            there = tf.maximum(rows, 1)
            return self._batch({name: a[:there] for name, a in arrays.items()}, rows, of)

        return tf.data.Dataset.from_tensor_slices((arrays, rows, of)).map(batch)

    def _batch(self, arrays: dict[str, Any], rows: tf.Tensor, of: tf.Tensor) -> Structure:
        data = self._pack(arrays)
        return Counted(data, (rows, of)) if self._counted else data


def _options() -> Any:
    options = tf.data.Options()
    # There is nothing to tune. The tuning thread may miss the end of its data set, and then closing
    # waits for it, at most as long as the data set was in use.
    options.autotune.enabled = False
    # A separate pool: the common one may have one thread, which is busy with the step.
    options.threading.private_threadpool_size = 1
    return options


def _dtype(values: NDArray[Any]) -> Any:
    return tf.string if values.dtype == object else tf.as_dtype(values.dtype)
