"""Predictions of one batch after another, with a model that may be built by the first of them."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.frameworks.keras_inputs import Layout
from zoo.orca.frameworks.keras_models import Made
from zoo.orca.frameworks.keras_state import write_state
from zoo.orca.wire.job import Job, OutputSpec, PredictJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.plugin import Columns


class Predictions:
    """Predicts batches; a model that is built by its first batch gets its state with it.

    Attributes
    ----------
    outputs : tuple of OutputSpec
        Empty while the model is not built.
    """

    def __init__(self, made: Made, layout: Layout, job: Job) -> None:
        self._made, self._layout = made, layout
        self._most = job.batch_size if isinstance(job, PredictJob) else None
        self._state = State.from_bytes(job.state) if job.state is not None else None
        self.outputs: tuple[OutputSpec, ...] = ()
        self._ready = made.is_static
        if self._ready:
            self.outputs = made.outputs()
            self._give_state()
        fixed = made.is_static or layout.placeholder() is not None
        self._predict = made.backend.Predict(made, layout, fixed=fixed)

    def __call__(self, columns: Columns) -> list[NDArray[np.generic]]:
        """Return the outputs for these rows, computed for so many at once as suit the model."""
        arrays = self._layout.feature_arrays(columns)
        if not self._ready:
            first = {n: self._made.backend.tensor(a) for n, a in _cut(arrays, 0, 2).items()}
            self._made.build(self._layout.pack_features(first))
            self._give_state()
            self._ready = True
        rows, most = len(next(iter(arrays.values()))), self._rows_at_once
        pieces = [
            self._predict(_cut(arrays, start, most)) for start in range(0, max(rows, 1), most)
        ]
        if len(pieces) == 1:
            return list(pieces[0])
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    @functools.cached_property
    def _rows_at_once(self) -> int:
        return self._most if self._most is not None else int(self._predict.rows_at_once)

    def _give_state(self) -> None:
        if self._state is not None:
            write_state(self._made, self._state, optimizers=False)


def _cut(arrays: Mapping[str, NDArray[Any]], start: int, rows: int) -> dict[str, NDArray[Any]]:
    return {name: values[start : start + rows] for name, values in arrays.items()}
