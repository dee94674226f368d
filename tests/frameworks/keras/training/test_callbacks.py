"""Which callbacks run, on which ranks, and what they are told."""

import numpy as np
import pytest

from tests.frameworks.bench import BATCH, embedded
from zoo.orca.frameworks.keras.training.callbacks import numbers

pytestmark = pytest.mark.timeout(300)

AVERAGED = ("SGD", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.8})


def test_averaged_weights_are_validated_on_every_rank(keras_bench):
    if keras_bench.config()["keras"] == 2:
        pytest.skip("only Keras 3 has the callback")
    config = keras_bench.config(AVERAGED)
    creator, data = keras_bench.family.embedding, embedded((47, 53))
    swapped, plain = (
        keras_bench.check(creator, data, validation=data, config=config, **callbacks)
        for callbacks in ({"make_callbacks": swapping}, {})
    )
    losses = [ran[0].trained.history["val_loss"] for ran in (swapped, plain)]
    assert abs(losses[0][0] - losses[1][0]) > 1e-3


def swapping():
    import keras

    return [keras.callbacks.SwapEMAWeights()]


def test_callbacks_that_write_run_on_rank_0_alone(keras_bench):
    running = keras_bench.ranks.alone(writers_by_rank, keras_bench.config()["keras"])
    names = {"ModelCheckpoint", "OrbaxCheckpoint", "TensorBoard", "CSVLogger", "RemoteMonitor"}
    if keras_bench.config()["keras"] == 2:
        names.remove("OrbaxCheckpoint")
    assert running == [names, set()]


def writers_by_rank(version):
    from importlib import import_module
    from types import SimpleNamespace

    from zoo.orca.frameworks.keras.training.callbacks import user_callbacks

    keras = import_module(f"zoo.orca.frameworks.keras.versions.keras{version}")
    package = keras.package().callbacks
    kinds = ("ModelCheckpoint", "OrbaxCheckpoint", "TensorBoard", "CSVLogger", "RemoteMonitor")
    # Made without their arguments: OrbaxCheckpoint needs a package of its own.
    there = [getattr(package, name) for name in kinds if hasattr(package, name)]
    callbacks = [kind.__new__(kind) for kind in there]
    return [
        {
            type(one).__name__
            for one in user_callbacks(
                SimpleNamespace(keras=keras), callbacks, SimpleNamespace(rank=rank, size=2)
            )
        }
        for rank in range(2)
    ]


@pytest.mark.parametrize("counts", [(100,), (47, 53)], ids=["one rank", "two ranks"])
@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_test_batch_end"])
def test_hooks_of_an_instance_are_called_for_each_step(keras_bench, counts, hook):
    version = keras_bench.config()["keras"]
    ran = keras_bench.train(
        keras_bench.family.embedding,
        embedded(counts),
        validation=embedded(counts),
        epochs=2,
        make_callbacks=lambda: counting(version, hook),
    )
    steps = embedded(counts).plan(BATCH).steps_per_pass
    assert ran[0].trained.history["steps"] == [steps, 2 * steps]


def counting(version, hook):
    from tests.frameworks.models import keras_of

    seen = []
    kind = keras_of({"keras": version}).callbacks.LambdaCallback
    count = {hook: lambda batch, logs=None: seen.append(batch)}
    return [kind(on_epoch_end=lambda epoch, logs: logs.update(steps=len(seen)), **count)]


def test_layers_may_be_frozen_and_thawed_while_they_are_trained(keras_bench):
    if keras_bench.ranks.environment.get("KERAS_BACKEND") == "jax":
        pytest.skip("the optimizer of Keras itself does not take fewer variables on JAX")
    # One rank has rows in a single step, so that it undoes the others.
    version, data = keras_bench.config()["keras"], embedded((99, 1))
    keras_bench.check(frozen_and_not, data, make_callbacks=lambda: [switching(version)])


def frozen_and_not(config):
    """Two layers of weights, one frozen."""
    from tests.frameworks.models import keras_of, optimizer_of

    keras = keras_of(config)
    x, u = keras.Input((4,), name="x"), keras.Input((1,), name="u")
    first = keras.layers.Dense(3, trainable=False, name="first")
    both = keras.layers.Concatenate()([first(x), u])
    model = keras.Model([x, u], keras.layers.Dense(1, name="second")(both))
    model.compile(optimizer_of(config), "mse")
    return model


def switching(version):
    from tests.frameworks.models import keras_of

    class Switch(keras_of({"keras": version}).callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                self.model.get_layer("second").trainable = False

        def on_epoch_end(self, epoch, logs=None):
            self.model.get_layer("second").trainable = True

    return Switch()


class OnDevice:
    """A tensor as torch has it on a GPU: numpy cannot read it there."""

    def __init__(self, value, ready=()):
        self.value, self.ready = value, ready

    def detach(self):
        return OnDevice(self.value, {*self.ready, "detached"})

    def cpu(self):
        return OnDevice(self.value, {*self.ready, "on the host"})

    def tolist(self):
        if set(self.ready) != {"detached", "on the host"}:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.value

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.tolist(), dtype)


def test_numbers_of_logs_may_be_on_a_device():
    logs = {"loss": OnDevice(0.5), "of classes": OnDevice([1.0, 2.0]), "plain": 3}
    found = {"loss": 0.5, "of classes_0": 1.0, "of classes_1": 2.0, "plain": 3.0}
    assert numbers(logs) == found
