"""tf.data pipelines, dealt out by their batches.

All ranks have the same pipeline with the same seeds, so its batches come in the same order on all,
and each takes its own. The rows of a step then do not depend on the number of workers.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.creators.seeds import mixed, seed_all
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created

#: Steps of a pipeline that say that a worker's rows are its own: the user has chosen them, or
#: Python code makes them.
_OF_ITS_OWN = ("ShardDataset", "GeneratorDataset", "PyFunc", "EagerPyFunc")


class ArraysOf:
    """A pipeline's batches as numpy arrays; made on all ranks."""

    def __init__(
        self, made: tf.data.Dataset, created: Created, collective: Collective, batch_size: int
    ) -> None:
        self.is_dealt = not is_own(made)
        self.dataset = dealt(made, created, collective, batch_size)
        self._created, self._rank = created, collective.rank
        self._is_shuffled = any(_is(one, "ShuffleDataset") for one in _steps(made))
        self._began = False
        cardinality = int(self.dataset.cardinality())
        self.is_endless = cardinality == tf.data.INFINITE_CARDINALITY
        self.length = cardinality if cardinality >= 0 else None

    def batches(self, pass_index: int) -> Iterator[Any]:
        """Yield this rank's batches of a pass."""
        self.begin(pass_index)
        yield from self.dataset.as_numpy_iterator()

    def begin(self, pass_index: int) -> None:
        """Prepare a pass: a pipeline draws its orders one after another, from its first pass on."""
        if not self._began and self._is_shuffled:
            for _ in range(pass_index):
                next(iter(self.dataset), None)
        self._began = True
        seed_all(mixed(self._created.seed, pass_index, self._rank, 1))

    def close(self) -> None:
        """No-op: threads end with an iterator."""


def is_own(made: tf.data.Dataset) -> bool:
    """Whether a pipeline's rows are this worker's own."""
    return any(_is(one, name) for one in _steps(made) for name in _OF_ITS_OWN)


def dealt(made: tf.data.Dataset, created: Created, collective: Collective, batch_size: int) -> Any:
    """Return this rank's batches of a pipeline, unless these are its own already."""
    size, rank = collective.size, collective.rank
    if size == 1 or is_own(made):
        return made
    options = tf.data.Options()
    options.deterministic = True  # another order on a rank would take rows twice, and lose others
    made = made.with_options(options)
    if created.batch_size % size == 0:
        return made.shard(size, rank)
    # Batches of different sizes begin at different rows, so all ranks cut the same global batch.
    before = created.batch_size // size * rank + min(rank, created.batch_size % size)

    def part(*batch: Structure) -> Any:
        rows = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]
        low = rows * before // created.batch_size
        high = rows * (before + batch_size) // created.batch_size
        cut = tf.nest.map_structure(lambda one: one[low:high], batch)
        return cut if len(cut) > 1 else cut[0]

    whole = made.unbatch().batch(created.batch_size)
    return whole.map(tf.autograph.experimental.do_not_convert(part))


def _steps(made: tf.data.Dataset) -> Iterator[Any]:
    """Yield the data sets that a pipeline is made of, and the operations of their functions."""
    yield made
    function = getattr(getattr(made, "_map_func", None), "function", None)
    if function is not None:
        yield from function.graph.get_operations()
    for one in made._inputs():
        yield from _steps(one)


def _is(step: tf.data.Dataset | tf.Operation, name: str) -> bool:
    """Whether a data set or an operation is of a kind."""
    kind = step.type if isinstance(step, tf.Operation) else type(step).__name__.strip("_")
    return bool(kind.startswith(name) or kind == name)
