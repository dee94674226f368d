"""What is particular to Keras 3 on JAX and on torch."""

import socket

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.bench import ADAM, BATCH, close, columns
from tests.frameworks.ranks import (
    Data,
    Failed,
    Ranks,
    job_of,
    plugin_of,
    predict_job,
    predicted,
    same_on_all,
    train,
)
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import TrainJob

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=["jax", "torch"])
def warm(request):
    ranks = Ranks(environment={"KERAS_BACKEND": request.param, "TF_CPP_MIN_LOG_LEVEL": "3"})
    yield ranks
    ranks.close()


def backend_of(ranks):
    return ranks.environment["KERAS_BACKEND"]


def fit(ranks, creator, data, **fields):
    config = {"keras": 3, "optimizer": ADAM, **fields.pop("config", {})}
    fields.setdefault("batch_size", BATCH)
    return train(ranks, creator, data, framework="keras", config=config, **fields)


def two(**more):
    return Data.of(columns(), (47, 53), features=("x", "u"), **more)


def equal_to_one(ranks, creator, **fields):
    """Two ranks end where one does that gets the same global batches."""
    data = two()
    ran = fit(ranks, creator, data, epochs=1, **fields)
    same_on_all(ran)
    alone = fit(ranks, creator, data.in_order(BATCH, 5), epochs=1, shuffle=False, **fields)
    close(ran[0].weights(), alone[0].weights())
    return ran, alone


def own_step(config):
    """A model with a step of its own: the stateless form on JAX, torch's on torch."""
    import keras

    class OnJax(keras.Model):
        def train_step(self, state, data):
            import jax

            trainable, rest, optimizer, metrics = state
            x, y = data
            function = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
            (_, (loss, _, rest, metrics)), gradients = function(
                trainable, rest, metrics, x, y, None, training=True, optimizer_variables=optimizer
            )
            if config.get("hidden"):  # the place where gradients meet, inside of another function
                apply = jax.jit(self.optimizer.stateless_apply)
            else:
                apply = self.optimizer.stateless_apply
            trainable, optimizer = apply(optimizer, gradients, trainable)
            return {"own": 2.0 * loss}, (trainable, rest, optimizer, metrics)

    class OnTorch(keras.Model):
        def train_step(self, data):
            import torch

            x, y = data
            self.zero_grad()
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            loss.backward()
            weights = self.trainable_weights
            with torch.no_grad():
                self.optimizer.apply([w.value.grad for w in weights], weights)
            return {"own": 2.0 * loss}

    whole = models.embedded(config)
    kind = OnJax if keras.backend.backend() == "jax" else OnTorch
    model = kind(whole.inputs, whole.outputs)
    model.compile(models.optimizer_of(config), "mse")
    return model


def test_custom_train_step(warm):
    ran, alone = equal_to_one(warm, own_step)
    assert list(ran[0].trained.history) == ["own"]
    # The logs of such a step are those of the last batch, here by rows.
    np.testing.assert_allclose(
        ran[0].trained.history["own"], alone[0].trained.history["own"], rtol=1e-5
    )


def test_gradients_that_meet_inside_of_a_compiled_function(warm):
    if backend_of(warm) == "torch":
        pytest.skip("only JAX compiles the step")
    equal_to_one(warm, own_step, config={"hidden": True})


@pytest.mark.parametrize("jit", [True, False])
def test_jit_compile(warm, jit):
    if backend_of(warm) == "torch" and jit:
        pytest.skip("torch's compiler needs minutes for a first step")
    equal_to_one(warm, compiled, config={"jit": jit})


def compiled(config):
    from tests.frameworks import models

    model = models.embedded(config)
    model.compile(models.optimizer_of(config), "mse", jit_compile=config["jit"])
    return model


def test_run_eagerly(warm):
    equal_to_one(warm, models.embedded, config={"eager": True})


def test_a_large_narrow_table(warm):
    """Ranks send its rows; JAX updates it as a vector, and eagerly as it is."""
    _, alone = equal_to_one(warm, models.embedded, config={"vocabulary": 6000})
    config = {"vocabulary": 6000, "eager": True}
    _, eager = equal_to_one(warm, models.embedded, config=config)
    close(alone[0].weights(), eager[0].weights())


def test_steps_per_execution(warm):
    if backend_of(warm) == "torch":
        pytest.skip("Keras refuses it on torch")
    data = two()
    ran = fit(warm, models.embedded, data, config={"per_execution": 3})
    same_on_all(ran)
    single = fit(warm, models.embedded, data)
    close(ran[0].weights(), single[0].weights())
    assert ran[0].trained.state.meta == single[0].trained.state.meta


def test_loss_scaling(warm):
    equal_to_one(warm, scaled)


def scaled(config):
    import keras

    from tests.frameworks import models

    model = models.embedded(config)
    optimizer = keras.mixed_precision.LossScaleOptimizer(models.optimizer_of(config))
    model.compile(optimizer, "mse")
    return model


def test_model_built_by_its_first_batch(warm):
    data = Data.of(columns(), (47, 53), features=("x",))
    ran = fit(warm, models.deferred, data, epochs=2)
    same_on_all(ran)
    assert ran[0].trained.history["loss"][1] < ran[0].trained.history["loss"][0]


def test_callback_that_looks_at_steps_and_stops(warm):
    ran = fit(warm, models.embedded, two(), epochs=3, make_callbacks=watching)
    same_on_all(ran)
    assert ran[0].trained.state.meta["step"] == 3
    assert np.isfinite(ran[0].trained.history["loss"]).all()


def test_callback_of_one_rank_that_stops_before_an_epoch(warm):
    """A limit of time, for one, is over on one rank first."""
    ran = fit(warm, models.embedded, two(), epochs=3, make_callbacks=stopping_alone)
    same_on_all(ran)
    assert len(ran[0].trained.history["loss"]) == 2


def stopping_alone():
    import multiprocessing

    import keras

    is_odd = int(multiprocessing.current_process().name.rpartition("-")[2]) % 2

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1 and is_odd:
                self.model.stop_training = True

    return [Stop()]


def watching():
    import keras

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            assert set(logs) == {"loss", "mae"}
            self.model.stop_training = batch == 2

    return [Watch()]


def schedule():
    import keras

    return [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        keras.callbacks.EarlyStopping(
            "val_loss", min_delta=100.0, patience=2, restore_best_weights=True
        ),
    ]


def test_schedule_and_early_stopping(warm):
    data = two()
    ran = fit(warm, models.embedded, data, validation=data, epochs=9, make_callbacks=schedule)
    same_on_all(ran)
    rates = ran[0].trained.history["learning_rate"]
    assert rates == pytest.approx([0.005, 0.0025, 0.00125])


def grouped(collective):
    import socket

    import torch.distributed as dist

    own = b""
    if collective.rank == 0:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            own = str(free.getsockname()[1]).encode()
    port = bytes(collective.broadcast(own if collective.rank == 0 else None)).decode()
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=collective.rank, world_size=2
    )
    return dist.get_world_size()


def ungrouped(collective):
    import torch.distributed as dist

    collective.barrier()
    if dist.is_initialized():
        dist.destroy_process_group()


def spread(config):
    import keras

    from tests.frameworks import models

    model = models.embedded(config)
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    return model


def test_a_distribution_of_keras_is_refused(warm):
    if backend_of(warm) == "torch":
        pytest.skip("Keras has none on torch")
    data = two()
    with pytest.raises(Failed, match="set_distribution\\(None\\)"):
        fit(warm, spread, data)
    fit(warm, models.embedded, data)  # and it is forgotten


def test_strings_are_refused(warm):
    words = np.array([b"a", b"b", b"c", b"d"], object)
    data = Data.of({"s": words, "y": np.zeros(4, np.float32)}, (4,), features=("s",))
    with pytest.raises(Failed) as caught:
        fit(warm, models.deferred, data)
    assert caught.value.message == (
        "column 's' holds strings, and only Keras on TensorFlow takes those\nPass "
        "keras_backend='tensorflow', or index the strings with Spark's StringIndexer"
    )


def test_numbers_of_64_bits_are_refused_where_they_would_be_cut_off(warm):
    if backend_of(warm) == "torch":
        pytest.skip("torch has 64 bits")
    wide = {**columns(), "u": columns()["u"].astype(np.int64)}
    fit(warm, models.embedded, Data.of(wide, (100,), features=("x", "u")))
    wide["u"][7] = 1 << 40
    data = Data.of(wide, (100,), features=("x", "u"))
    with pytest.raises(Failed, match="'u' holds whole numbers that need 64 bits"):
        fit(warm, models.embedded, data)
    spec = FeatureSpec(features=data.spec.features)
    job = predict_job(models.embedded, spec, config={"keras": 3}, framework="keras")
    with pytest.raises(Failed, match="'u' holds whole numbers that need 64 bits"):
        warm.alone(predicted, job, {name: wide[name] for name in ("x", "u")})


def test_state_goes_on_in_another_backend(warm):
    data = two()
    state = fit(warm, models.embedded, data)[0].trained.state
    other = Ranks(environment={"KERAS_BACKEND": {"jax": "torch", "torch": "jax"}[backend_of(warm)]})
    try:
        there = fit(other, models.embedded, data, state=state, initial_epoch=1)
    finally:
        other.close()
    here = fit(warm, models.embedded, data, state=state, initial_epoch=1)
    close(there[0].weights(), here[0].weights())


def test_a_loop_around_the_optimizer_is_refused(warm):
    if backend_of(warm) == "torch":
        pytest.skip("of JAX's compiler")
    with pytest.raises(Failed, match="inside of a loop or a branch"):
        fit(warm, branching, two())


def branching(config):
    import keras

    from tests.frameworks import models

    class Model(keras.Model):
        def train_step(self, state, data):
            import jax

            trainable, rest, optimizer, metrics = state
            function = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
            (loss, _), gradients = function(
                trainable, rest, metrics, *data, None, training=True, optimizer_variables=optimizer
            )
            trainable, optimizer = jax.lax.cond(
                loss > 0,
                lambda: tuple(self.optimizer.stateless_apply(optimizer, gradients, trainable)),
                lambda: (trainable, optimizer),
            )
            return {"loss": loss}, (trainable, rest, optimizer, metrics)

    whole = models.embedded(config)
    model = Model(whole.inputs, whole.outputs)
    model.compile(models.optimizer_of(config), "mse")
    return model


def test_another_backends_model_is_refused(warm):
    job = job_of(TrainJob, models.embedded, two().spec, config={"keras": 3}, framework="keras")
    with pytest.raises(Failed, match="Pass keras_backend="):
        warm.alone(made_with_another_backend, job)


def made_with_another_backend(job):
    import os

    from zoo.orca.frameworks.keras.models import KerasModel

    before, os.environ["KERAS_BACKEND"] = os.environ["KERAS_BACKEND"], "tensorflow"
    try:
        KerasModel(job)
    finally:
        os.environ["KERAS_BACKEND"] = before


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_neither_backend_needs_tensorflow(backend):
    ranks = Ranks(environment={"KERAS_BACKEND": backend})
    try:
        ranks.run([without_tensorflow])
        data = Data.of(columns(), (100,), features=("x", "u"))
        fit(ranks, models.embedded, data, validation=data)
    finally:
        ranks.close()


def without_tensorflow(collective):
    import sys

    for name in ("tensorflow", "tf_keras", "torch"):
        if name != __import__("os").environ["KERAS_BACKEND"]:
            sys.modules[name] = None


@pytest.mark.parametrize(
    ("backend", "missing", "extras"),
    [
        ("jax", "jax", "keras"),
        ("torch", "torch", "keras,torch"),
        ("tensorflow", "keras", "keras,tf2"),
    ],
)
def test_missing_packages_are_named_with_what_brings_them(monkeypatch, backend, missing, extras):
    from zoo.orca.errors import MissingPackageError
    from zoo.orca.frameworks.keras.plugin import framework

    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else name)
    job = job_of(TrainJob, models.embedded, two().spec, config={"keras": 3}, framework="keras")
    with pytest.raises(MissingPackageError) as caught:
        framework().prepare(job, 1)
    assert str(caught.value) == (
        f"the package {missing!r} is not installed on the worker {socket.gethostname()}\n"
        f"Install it there: pip install 'zoo-orca[{extras}]' into its Python"
    )


def test_a_lost_peer_is_the_error_and_not_what_follows_from_it(warm):
    """On JAX the state that was given away is gone by then, which Keras would complain of."""
    from zoo.orca.errors import PeerLostError

    data = two()
    with pytest.raises(Failed, match="the user's own mistake"):
        fit(warm, models.embedded, data, make_callbacks=failing)
    job = job_of(
        TrainJob,
        models.embedded,
        data.spec,
        config={"keras": 3},
        framework="keras",
        batch_size=BATCH,
    )
    answers = warm.try_run([losing(job, data, rank) for rank in range(2)])
    assert answers[0].kind is PeerLostError
    assert "on purpose" in answers[1].message


def losing(job, data, rank):
    """A rank that trains; rank 1's connection ends at the third sum of gradients."""
    rows = data.rows(rank, BATCH)

    def run(collective):
        from tests.frameworks.ranks import World

        if rank == 1:
            original, calls = collective.all_reduce, []

            def all_reduce(array):
                calls.append(array)
                if len(calls) == 3:
                    raise RuntimeError("on purpose")
                original(array)

            collective.all_reduce = all_reduce
        plugin = plugin_of(job)
        plugin.prepare(job, 1)
        world = World(collective=collective, report=lambda progress: None)
        return plugin.train(job, rows, None, world)

    return run


def failing():
    import keras

    class Failing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise ValueError("the user's own mistake")

    return [Failing()]
