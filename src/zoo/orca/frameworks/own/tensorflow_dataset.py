"""A worker's rows as a dataset of TensorFlow's."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from zoo.orca.frameworks.own.rows import WorkerRows


def dataset(rows: "WorkerRows", batch_size: int | None, epoch: int) -> "tf.data.Dataset":
    """Return the rows one by one, or the steps of an epoch."""
    signature = {name: _signature(rows, name, batch_size is not None) for name in rows}

    def one_by_one() -> Iterator[dict[str, Any]]:
        columns = dict(rows)
        for index in range(rows.count):
            yield {name: values[index] for name, values in columns.items()}

    def steps() -> Iterator[dict[str, Any]]:
        for step in rows.batches(batch_size or 1, epoch):
            yield dict(step)

    made = tf.data.Dataset.from_generator(
        one_by_one if batch_size is None else steps, output_signature=signature
    )
    count = rows.count if batch_size is None else rows.steps(batch_size)
    return made.apply(tf.data.experimental.assert_cardinality(count))


def _signature(rows: "WorkerRows", name: str, has_rows: bool) -> Any:
    spec = rows.spec(name)
    dtype = tf.string if spec.dtype == "string" else tf.as_dtype(np.dtype(spec.dtype))
    return tf.TensorSpec((None, *spec.shape) if has_rows else spec.shape, dtype)
