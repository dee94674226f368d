"""Metrics over all workers equal plain Keras's over all rows, and are the same on every rank."""

import numpy as np
import pytest

from tests.frameworks.keras.test_equal import columns, each_keras
from tests.frameworks.ranks import Data, evaluate, job_of, same_on_all, train
from zoo.orca.wire.job import EvaluateJob

pytestmark = pytest.mark.timeout(300)


def judged(config):
    """Two classes, with metrics of each built-in kind."""
    from tests.frameworks.models import keras_of

    keras = keras_of(config)
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(1, activation="sigmoid")(x))
    m = keras.metrics
    model.compile(
        "sgd",
        "binary_crossentropy",
        metrics=[
            "accuracy",
            "mae",
            m.AUC(name="auc"),
            m.Precision(name="precision"),
            m.Recall(name="recall"),
            m.RootMeanSquaredError(name="rmse"),
            m.BinaryIoU(name="iou"),
            m.SensitivityAtSpecificity(0.5, name="sas"),
            m.TruePositives(name="tp"),
        ],
        weighted_metrics=[m.MeanSquaredError(name="wmse")],
    )
    return model


def many(config):
    """Several classes."""
    from tests.frameworks.models import keras_of

    keras = keras_of(config)
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(3, activation="softmax")(x))
    m = keras.metrics
    model.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        metrics=[
            "accuracy",
            m.SparseTopKCategoricalAccuracy(2, name="top2"),
            m.MeanIoU(3, sparse_y_pred=False, name="iou"),
        ],
    )
    return model


def plain(job, columns, labels, weight, batch_size):
    """`Model.evaluate` over all rows in one process."""
    from zoo.orca.frameworks.keras.models import KerasModel

    model = KerasModel(job).model
    names = [name for name in ("x", "w") if name == "x" or len(labels) > 1]
    inputs = [columns[n] if columns[n].ndim > 1 else columns[n][:, None] for n in names]
    found = [columns[name][:, None] for name in labels]
    more = {"sample_weight": columns[weight]} if weight else {}
    logs = model.evaluate(
        inputs[0] if len(inputs) == 1 else tuple(inputs),
        found[0] if len(found) == 1 else tuple(found),
        batch_size=batch_size,
        verbose=0,
        return_dict=True,
        **more,
    )
    return {name: float(value) for name, value in logs.items()}


def check(ranks, creator, data, keras, labels, batch_size=20, plain_batch_size=20):
    config = {"keras": keras}
    found = evaluate(ranks, creator, data, batch_size=batch_size, config=config)
    assert all(other == found[0] for other in found)
    expected = ranks.alone(
        plain,
        job_of(EvaluateJob, creator, data.spec, config=config),
        data.merged().shards[0],
        labels,
        data.spec.weight.name if data.spec.weight else None,
        plain_batch_size,
    )
    assert found[0] == pytest.approx(expected, rel=1e-6, abs=1e-6)


@each_keras
@pytest.mark.parametrize("counts", [(50, 53), (101, 0, 2)])
def test_every_kind_of_metric(ranks, keras, counts):
    data = Data.of(columns(), counts, features=("x",), labels=("flag",), weight="w")
    check(ranks, judged, data, keras, ("flag",))


@each_keras
def test_metrics_of_several_classes(ranks, keras):
    data = Data.of(columns(), (30, 40, 33), features=("x",), labels=("label",))
    check(ranks, many, data, keras, ("label",))


@each_keras
def test_losses_of_several_outputs(ranks, keras):
    from tests.frameworks.models import two_outputs

    data = Data.of(columns(), (30, 40, 33), features=("x", "w"), labels=("y", "flag"))
    # Keras 3 averages outputs' losses over batches, not rows: in one batch they are the same.
    check(ranks, two_outputs, data, keras, ("y", "flag"), plain_batch_size=103)


@each_keras
def test_first_batches_only(ranks, keras):
    data = Data.of(columns(), (103,), features=("x",), labels=("flag",))
    found = evaluate(ranks, judged, data, batch_size=20, steps=2, config={"keras": keras})
    whole = {name: values[:40] for name, values in columns().items()}
    first = Data.of(whole, (40,), features=("x",), labels=("flag",))
    expected = evaluate(ranks, judged, first, batch_size=20, config={"keras": keras})
    assert found[0] == pytest.approx(expected[0], rel=1e-6)


def own_merge(config):
    """A metric of Keras 2 that says itself how states merge."""
    import tensorflow as tf
    from tensorflow import keras

    class Largest(keras.metrics.Metric):
        def __init__(self, name="largest", **more):
            super().__init__(name=name, **more)
            self.largest = self.add_weight(name="largest", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.largest.assign(tf.maximum(self.largest, tf.reduce_max(y_true)))

        def merge_state(self, metrics):
            for metric in metrics:
                self.largest.assign(tf.maximum(self.largest, metric.largest))

        def result(self):
            return self.largest

    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse", metrics=[Largest()])
    return model


def test_metric_that_merges_by_itself(ranks):
    data = Data.of(columns(), (50, 53), features=("x",))
    found = evaluate(ranks, own_merge, data, batch_size=20)
    assert [one["largest"] for one in found] == [columns()["y"].max()] * 2


@each_keras
def test_validation_and_batch_logs_are_global(ranks, keras):
    data = Data.of(columns(), (90, 13), features=("x",), labels=("flag",))
    config = {"keras": keras}
    number = keras

    def watching():
        if number == 2:
            from tensorflow import keras as package
        else:
            import keras as package

        class Watch(package.callbacks.Callback):
            def on_train_begin(self, logs=None):
                self.seen = []

            def on_train_batch_end(self, batch, logs=None):
                self.seen.append(float(logs["loss"]))

            def on_epoch_end(self, epoch, logs=None):
                logs["last"] = self.seen[-1]
                logs["count"] = len(self.seen)

        return [Watch()]

    ran = train(
        ranks,
        judged,
        data,
        validation=data,
        batch_size=20,
        epochs=2,
        config=config,
        make_callbacks=watching,
    )
    same_on_all(ran)
    history = ran[0].trained.history
    assert history["last"] == history["loss"]
    assert history["count"] == [6, 12]
    after = evaluate(ranks, judged, data, batch_size=20, config=config, state=ran[0].trained.state)
    assert {f"val_{k}": v for k, v in after[0].items()} == pytest.approx(
        {k: v[-1] for k, v in history.items() if k.startswith("val_")}, rel=1e-6
    )
    assert np.isfinite(history["val_auc"]).all()
