"""Training does not depend on how rows fall into batches, not even where a batch has one row.

`test_torch_batches` has more of PyTorch, and `test_predictions` the same of predictions.
"""

# Annotations inside functions that travel to the ranks must not be looked up there.
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.bench import SGD, columns
from tests.frameworks.ranks import Data, Failed, job_of, same_on_all
from tests.frameworks.test_predictions import operations
from zoo.orca.errors import ModelError
from zoo.orca.wire.job import TrainJob

pytestmark = pytest.mark.timeout(300)

#: Ways in which outputs lose the axis of rows, and the label of each.
CASES = {"squeeze": "y", "reshape": "y", "classes": "label", "steps": "steps", "dict": "y"}
#: Rows of each worker, and the batch size: single rows, rows left over, and workers with none.
FALLS = [((4,), 1), ((5,), 2), ((8,), 7), ((2, 1), 1), ((3, 2), 2), ((8, 7), 7)]
#: One case in each of them; the others where a row is left over, with and without a second worker.
TRIED = [("squeeze", *fall) for fall in FALLS] + [
    (case, *fall) for case in CASES if case != "squeeze" for fall in (FALLS[1], FALLS[4])
]
TRIED.append(("classes", *FALLS[3]))  # a worker without rows has no classes to look at


def shaped(config: dict[str, Any]) -> Any:
    """A model that squeezes its outputs, or with `config["kept"]` one that keeps their axes."""
    keras, do = models.keras_of(config), operations(config)
    case, kept = config["case"], config["kept"]

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(6, activation="tanh")
            self.out = keras.layers.Dense(3 if case in ("classes", "steps") else 1)

        def call(self, x):
            found = self.out(self.hidden(x))
            if case in ("classes", "steps"):
                return found if kept else do.squeeze(found[:, None])
            if case == "reshape" and not kept:
                return do.reshape(found, (-1,))
            one = found[:, 0] if kept else do.squeeze(found)
            return {"a": one, "b": found} if case == "dict" else one

    loss, metric = "mse", "mae"
    if case == "classes":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        metric = "sparse_categorical_accuracy"
    if case == "dict":
        loss, metric = {"a": "mse", "b": "mae"}, {"a": ["mae"], "b": ["mse"]}
    model = Model()
    model.compile(models.optimizer_of(config), loss, metrics=metric if case == "dict" else [metric])
    return model


def by_hand(job, batches, columns, label):
    """Weights after plain Keras's steps over batches, and what it then finds on all rows."""
    from zoo.orca.frameworks.keras.models import KerasModel

    model = KerasModel(job).model

    def labels(rows):
        found = rows[label].reshape(len(rows["x"]), -1)
        return {"a": found, "b": found} if job.columns.label_keys else found

    model(batches[0]["x"])
    for batch in batches:
        model.train_on_batch(batch["x"], labels(batch))
    found = model.evaluate(
        columns["x"], labels(columns), batch_size=len(columns["x"]), verbose=0, return_dict=True
    )
    return model.get_weights(), found


@pytest.mark.parametrize(("case", "counts", "batch_size"), TRIED)
def test_a_batch_of_one_row_is_like_any_other(keras_bench, case, counts, batch_size):
    """Not on TensorFlow with Keras 3, of which it would not hold.

    Keras weighs an output's own loss (`val_a_loss`) by rows there only where a batch's size is
    static.
    """
    rows = columns(sum(counts))
    rows["steps"] = rows["x"][:, :3] * 2
    labels = {"a": "y", "b": "y"} if case == "dict" else (CASES[case],)
    data = Data.of(rows, counts, features=("x",), labels=labels)
    config = keras_bench.config(SGD, case=case, kept=False)
    fields = {"config": config, "batch_size": batch_size, "validation": data}
    ran = keras_bench.train(shaped, data, epochs=2, **fields)
    same_on_all(ran)
    framework = keras_bench.family.framework
    plain = job_of(
        TrainJob, shaped, data.spec, config={**config, "kept": True}, framework=framework
    )
    batches = data.batches(batch_size, 2 * data.plan(batch_size).steps_per_pass)
    weights, found = keras_bench.ranks.alone(by_hand, plain, batches, rows, CASES[case])
    for ours, theirs in zip(ran[0].weights().values(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    ends = {name: values[-1] for name, values in ran[0].trained.history.items()}
    for name, value in found.items():
        assert ends[f"val_{name}"] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def averaged(config: dict[str, Any]) -> Any:
    """A model that puts out one number for all rows, or what is no row of a batch."""
    keras, do = models.keras_of(config), operations(config)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = keras.layers.Dense(3)

        def call(self, x):
            found = self.out(x)
            return do.reshape(found, (-1,)) if config["flat"] else do.mean(do.mean(found))

    def own(y_true, y_pred):
        return y_pred

    model = Model()
    model.compile(models.optimizer_of(config), own if config["own"] else config["loss"])
    return model


@pytest.mark.parametrize(("flat", "shape"), [(False, "()"), (True, "(6,)")])
@pytest.mark.parametrize("counts", [(5,), (1, 1)])
def test_outputs_without_an_entry_for_each_row_are_refused(keras_bench, flat, shape, counts):
    """Keras would compare a mean with every label, and three numbers with one."""
    data = Data.of(columns(sum(counts)), counts, features=("x",))
    config = keras_bench.config(SGD, loss="mse", flat=flat, own=False)
    with pytest.raises(Failed) as caught:
        keras_bench.train(averaged, data, config=config, batch_size=1)
    assert caught.value.kind is ModelError
    first, second = caught.value.message.split("\n")
    assert f"shape {shape} for 2 rows" in first and "label 'y'" in first
    assert "a value for each row" in second
    if not flat:  # one of the ways out
        keras_bench.train(averaged, data, config={**config, "own": True}, batch_size=2)


def flat(config: dict[str, Any]) -> Any:
    """One number a row, with the axis of length 1 that labels have or without."""
    keras = models.keras_of(config)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = keras.layers.Dense(1)

        def call(self, x):
            return self.out(x) if config["kept"] else self.out(x)[:, 0]

    model = Model()
    model.compile(models.optimizer_of(config), "mse", metrics=["mae"], weighted_metrics=["mse"])
    return model


@pytest.mark.parametrize("counts", [(5,), (3, 2)])
def test_an_output_of_rows_alone_is_weighed_and_counted_by_rows(keras_bench, counts):
    """Keras 2 would make one number of it, which has one weight and counts as one row."""
    data = Data.of(columns(5), counts, features=("x",), weight="w")
    ran = [
        keras_bench.train(
            flat,
            data,
            config=keras_bench.config(SGD, kept=kept),
            batch_size=2,
            epochs=2,
            validation=data,
        )[0]
        for kept in (True, False)
    ]
    for name, values in ran[0].trained.history.items():
        np.testing.assert_allclose(ran[1].trained.history[name], values, rtol=1e-5, err_msg=name)
    for ours, kept in zip(ran[1].weights().values(), ran[0].weights().values(), strict=True):
        np.testing.assert_allclose(ours, kept, rtol=1e-5, atol=1e-6)
