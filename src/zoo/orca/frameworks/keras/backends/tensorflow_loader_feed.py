"""A user's batches as a `tf.data.Dataset`, for Keras on TensorFlow.

A pipeline of the user's stays one: TensorFlow runs it. On several workers Python is called once a
step, to agree with the other ranks on the step's rows. That comes last in the pipeline, behind all
that runs ahead, so it is done where the step is: sums over ranks must come in one order. A single
worker agrees with nobody, so there TensorFlow itself counts the steps, and Python is not called.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.creators.of_tensorflow import ArraysOf
from zoo.orca.frameworks.creators.stream import Stream
from zoo.orca.frameworks.keras.feed import Counted
from zoo.orca.frameworks.keras.loaders.layout import KerasParts, batch_of, resized, zeros
from zoo.orca.frameworks.keras.types import Tensor
from zoo.orca.wire.plans.live import ENDLESS
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created


class DatasetOfLoader:
    """Data sets of steps over one rank's loader; made on all ranks.

    Parameters
    ----------
    created : Created
    collective : Collective
    parts : KerasParts
        Splits the loader's batches.

    Attributes
    ----------
    stream : Stream
    seconds : float
    over_passes : bool
        Whether steps go on with the next pass where one ends.
    problem : Exception or None
        What went wrong in Python that TensorFlow called. TensorFlow raises an error of its own.
    """

    def __init__(self, created: Created, collective: Collective, parts: KerasParts) -> None:
        self.stream = Stream(created, collective, parts, zeros)
        self._parts = parts
        self._counted = collective.size > 1
        self._trains = created.role == "train"
        self.seconds, self.over_passes = 0.0, False
        self.problem: Exception | None = None
        self._of = 0

    def sample(self, rows: int = 2) -> Structure:
        """Return a batch of so many rows, which repeats the first ones."""
        sized = resized(self.stream.sample(), rows)
        return tf.nest.map_structure(tf.convert_to_tensor, batch_of(sized))

    def inputs(self) -> Structure:
        """Return the inputs of the first batch."""
        return self.stream.sample()["x"]

    def steps(self, start: Callable[[], int], count: int) -> Any:
        """Return a data set of `count` steps, or of those of a pass if that is not known."""
        plan, loader = self.stream.plan, self.stream.loader
        self.stream.check_end(count)
        within = plan.within if self._trains else 0
        if isinstance(loader, ArraysOf):
            self.stream.close_pass()
            loader.begin(plan.pass_index)
            later = _ahead(loader.dataset)
            first = _ahead(loader.dataset.skip(within)) if within else later
        else:
            first = later = self._generated()
        a_pass: Callable[[tf.data.Dataset], Any] = self._pass
        if not self._counted and isinstance(loader, ArraysOf) and self._ends_are_known:
            a_pass = self._alone()
        steps = a_pass(first)
        if self.over_passes:
            steps = steps.concatenate(a_pass(later).repeat())
        else:
            steps = steps.take(count) if count < ENDLESS else steps
            if plan.is_certain and plan.expected is not None:
                # Keras must know it where a call runs several steps.
                number = min(count, plan.expected - within)
                steps = steps.apply(tf.data.experimental.assert_cardinality(number))
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False
        return steps.with_options(options)

    @property
    def _ends_are_known(self) -> bool:
        """Whether steps tell where passes end."""
        loader = self.stream.loader
        return self.stream.plan.expected is not None or getattr(loader, "is_endless", False)

    def _alone(self) -> Callable[[tf.data.Dataset], Any]:
        """Return the function from a pass's batches to its steps, which TensorFlow counts."""
        with tf.device("CPU"):
            total = tf.Variable([0, 0], dtype=tf.int64, trainable=False)
        seen = np.zeros(2, np.int64)

        def counted() -> tuple[int, int]:
            now = total.numpy()
            steps, rows = (now - seen).tolist()
            seen[:] = now
            return steps, rows

        self.stream.plan.follow(counted)

        def step(*batch: Structure) -> Any:
            rows = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]
            with tf.control_dependencies([total.assign_add(tf.stack([tf.ones_like(rows), rows]))]):
                return tf.nest.map_structure(tf.identity, self._weighed(batch))

        return lambda batches: batches.map(tf.autograph.experimental.do_not_convert(step))

    def _pass(self, batches: tf.data.Dataset) -> Any:
        """Return the steps of a pass: this rank's, then those that only others have.

        TensorFlow runs functions of a pipeline ahead if they have no effects. Here each one has.
        """
        convert = tf.autograph.experimental.do_not_convert
        rows = tf.nest.flatten(batch_of(resized(self.stream.sample(), 1)))
        spec = batches.element_spec
        nothing = tf.nest.pack_sequence_as(spec, [_like(s, r) for s, r in _pairs(spec, rows)])
        idle = tf.data.Dataset.from_tensors(nothing).repeat()
        idle = idle.take_while(convert(lambda *batch: self._told(tf.constant(0, tf.int64)) > 0))
        return batches.map(convert(self._real)).concatenate(idle.map(convert(self._idle)))

    def _real(self, *batch: Structure) -> Any:
        """Return a batch of this rank with its row count, and that of all ranks."""
        rows = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]
        return self._with_rows(batch, rows, self._told(rows))

    def _idle(self, *batch: Structure) -> Any:
        """Return a batch that does not count, with the row count of all ranks."""
        of = tf.numpy_function(lambda: np.int64(self._of), [], tf.int64)
        of.set_shape(())
        return self._with_rows(batch, tf.constant(0, tf.int64), of)

    def _with_rows(self, batch: tuple[Any, ...], rows: Tensor, of: Tensor) -> Any:
        data = self._weighed(batch)
        if self._counted:
            return Counted(data, (rows, of))
        with tf.control_dependencies([of]):  # it must be called
            return tf.nest.map_structure(tf.identity, data)

    def _told(self, rows: Tensor) -> Any:
        of = tf.numpy_function(self._tell, [rows], tf.int64)
        of.set_shape(())
        return of

    def _tell(self, rows: Tensor) -> Any:
        try:
            self._of = self.stream.tell(int(rows))
        except Exception as error:
            self.problem = self.problem or error
            raise
        return np.int64(self._of)

    def _weighed(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return a batch with the weights of its classes."""
        if len(batch) < 2 or not self._parts.weighs or not isinstance(self.stream.loader, ArraysOf):
            return batch
        given = [batch[1], *batch[2:]]
        weights = tf.numpy_function(self._parts.weights, given, tf.float32)
        weights.set_shape((None,))
        return (*batch[:2], weights)

    def _generated(self) -> Any:
        """Return a data set of what Python makes."""
        parts = self.stream.sample()

        def spec(value: Structure) -> Any:
            shape = (None, *value.shape[1:])
            dtype = tf.string if value.dtype == object else tf.as_dtype(value.dtype)
            return tf.TensorSpec(shape, dtype)

        signature = tf.nest.map_structure(spec, batch_of(parts))
        return tf.data.Dataset.from_generator(self._own, output_signature=signature)

    def _own(self) -> Iterator[Any]:
        try:
            if not self._trains:
                self.stream.restart()
            for parts in self.stream.own():
                yield batch_of(parts)
        except Exception as error:
            self.problem = self.problem or error
            raise

    def close(self) -> None:
        """End the loader's processes."""
        self.stream.close()


def _ahead(batches: tf.data.Dataset) -> Any:
    """Return batches that are made ahead, as TensorFlow lets those of any other pipeline be.

    It is told not to do so behind what counts steps.
    """
    if type(batches).__name__.startswith("_Prefetch"):
        return batches
    return batches.prefetch(tf.data.AUTOTUNE)


def _pairs(spec: tf.TensorSpec, rows: list[Any]) -> list[tuple[Any, Any]]:
    # Weights of classes are added behind what the pipeline has.
    return list(zip(tf.nest.flatten(spec), rows, strict=False))


def _like(spec: tf.TensorSpec, row: NDArray[Any]) -> Any:
    """Return one row that does not count."""
    if spec.dtype == tf.string:
        return tf.fill(row.shape, "")
    return tf.zeros(row.shape, spec.dtype)
