"""The plug-in for Keras 2 (`tf_keras`) and Keras 3 on TensorFlow, whichever the creator returns.

::

    tf2              the protocol: prepare, train, evaluate, build, predictor
    keras_loop       one `Model.fit` or `Model.evaluate` among several workers
    keras_models     the creator's model      keras2, keras3   what differs between the two
    keras_inputs     columns as inputs        tf_feed          steps as a tf.data.Dataset
    keras_steps      what steps need          tf_exchange      where gradients meet
    gradient_sum     the sum in numpy
    keras_updates    fused updates            keras_executions several steps a call
    keras_metrics    global logs              keras_callbacks  the user's and Orca's own
    keras_position   the loop's place         keras_state      tensors with names
    tf_memory        how many rows a model can take at once

The loop is Keras's own. With one worker nothing is added to it but a callback for progress.
"""

import contextlib
import functools
import importlib.util
import os
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks import keras_loop
from zoo.orca.frameworks.base import (
    Built,
    Columns,
    Evaluated,
    Framework,
    Predictor,
    Rows,
    Trained,
    World,
)
from zoo.orca.frameworks.keras_inputs import Layout
from zoo.orca.frameworks.keras_models import Made
from zoo.orca.frameworks.keras_state import read_state, write_state
from zoo.orca.frameworks.tf_memory import rows_at_once
from zoo.orca.wire.job import EvaluateJob, Job, OutputSpec, PredictJob, TrainJob
from zoo.orca.wire.packing import State


class Tf2:
    """Implements `zoo.orca.worker.plugin.Framework`."""

    def prepare(self, job: Job, world: World) -> None:
        """Set threads and import the Keras that `tensorflow.keras` means, while rows move."""
        if job.threads:
            # Fixed once TensorFlow has run anything: a warm child keeps its first job's setting.
            with contextlib.suppress(RuntimeError):
                tf.config.threading.set_intra_op_parallelism_threads(job.threads)
                tf.config.threading.set_inter_op_parallelism_threads(job.threads)
        legacy = os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true")
        name = "tf_keras" if legacy else "keras"
        # A creator may import the other one; a package that is missing is told when it is used.
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)

    def train(self, job: TrainJob, rows: Rows, validation: Rows | None, world: World) -> Trained:
        """Run `Model.fit`."""
        made = Made(job)
        made.require_compiled("fit")
        return keras_loop.train(made, job, rows, validation, world)

    def evaluate(self, job: EvaluateJob, rows: Rows, world: World) -> Evaluated:
        """Run `Model.evaluate`."""
        made = Made(job)
        made.require_compiled("evaluate")
        return keras_loop.evaluate(made, job, rows, world)

    def build(self, job: Job, sample: Columns | None) -> Built:
        """Build the model, by `sample` if it is built by its first batch."""
        made = Made(job)
        layout = made.layout(job.columns)
        if made.is_static:
            outputs = made.outputs()
        else:
            outputs = made.build(_features(layout, sample))
        if job.state is not None:
            write_state(made, State.from_bytes(job.state), optimizers=False)
        return Built(read_state(made, {"epoch": 0, "step": 0}), outputs)

    def predictor(self, job: Job) -> tuple[Predictor, tuple[OutputSpec, ...]]:
        """Return a function from feature columns to the model's outputs."""
        made = Made(job)
        layout = made.layout(job.columns)
        predict = _Predict(made, layout, job)
        return predict, predict.outputs


def framework() -> Framework:
    """Return the plug-in."""
    return Tf2()


def _features(layout: Layout, sample: Columns | None) -> Any:
    """Return a small batch of inputs, of rows that exist or of zeros."""
    if sample is not None:
        arrays = layout.feature_arrays({name: values[:2] for name, values in sample.items()})
    else:
        placeholder = layout.placeholder()
        if placeholder is None:
            raise ModelError(
                "the model is built by its first batch, and there is no row to build it with: "
                "give its inputs shapes (keras.Input), or pass rows"
            )
        arrays = placeholder
    return layout.pack_features({name: tf.convert_to_tensor(a) for name, a in arrays.items()})


class _Predict:
    """Predicts batches; a model that is built by its first batch gets its state with it."""

    def __init__(self, made: Made, layout: Layout, job: Job) -> None:
        self._made, self._layout = made, layout
        self._most = job.batch_size if isinstance(job, PredictJob) else None
        self._state = State.from_bytes(job.state) if job.state is not None else None
        self.outputs: tuple[OutputSpec, ...] = ()
        self._ready = made.is_static
        if self._ready:
            self.outputs = made.outputs()
            self._give_state()
        # One trace for batches of any size.
        self._step = tf.function(self._predict, reduce_retracing=True)
        self._is_traceable = False
        if getattr(made.model, "run_eagerly", False):
            self._step = self._predict
        elif made.is_static or layout.placeholder() is not None:
            self._step = tf.function(self._predict, input_signature=layout.signature())
            self._is_traceable = True

    def __call__(self, columns: Columns) -> list[NDArray[np.generic]]:
        """Return the outputs for these rows, computed for so many at once as suit the model."""
        arrays = self._layout.feature_arrays(columns)
        if not self._ready:
            self._made.build(self._layout.pack_features(_tensors(arrays, 0, 2)))
            self._give_state()
            self._ready = True
        rows, most = len(next(iter(arrays.values()))), self._rows_at_once
        pieces = [
            [np.asarray(output) for output in self._step(*_tensors(arrays, start, most).values())]
            for start in range(0, max(rows, 1), most)
        ]
        if len(pieces) == 1:
            return pieces[0]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    @functools.cached_property
    def _rows_at_once(self) -> int:
        if self._most is not None:
            return self._most
        return rows_at_once(self._step.get_concrete_function() if self._is_traceable else None)

    def _predict(self, *features: Any) -> list[Any]:
        batch = dict(zip(self._layout.keys(), features, strict=True))
        # A tuple of one: Keras takes a bare tuple for (inputs, labels).
        outputs = self._made.model.predict_step((self._layout.pack_features(batch),))
        return [tf.convert_to_tensor(output) for output in tf.nest.flatten(outputs)]

    def _give_state(self) -> None:
        if self._state is not None:
            write_state(self._made, self._state, optimizers=False)


def _tensors(arrays: Any, start: int, rows: int) -> dict[str, Any]:
    cut = slice(start, start + rows)
    return {name: tf.convert_to_tensor(values[cut]) for name, values in arrays.items()}
