"""Weights on several workers equal those of one that takes the same global batches."""

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.ranks import Data, job_of, same_on_all, train
from zoo.orca.wire.job import TrainJob

pytestmark = pytest.mark.timeout(300)

BATCH = 20
each_keras = pytest.mark.parametrize("keras", [2, 3])
SGD = ("SGD", {"learning_rate": 0.1})
MOMENTUM = ("SGD", {"learning_rate": 0.05, "momentum": 0.9})
ADAM = ("Adam", {"learning_rate": 0.01})


def columns(rows: int = 103) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    x = random.normal(size=(rows, 4)).astype(np.float32)
    return {
        "x": x,
        "u": random.integers(0, 500, rows).astype(np.int32),
        "n": np.arange(rows, dtype=np.int32),
        "label": random.integers(0, 3, rows).astype(np.int32),
        "flag": random.integers(0, 2, rows).astype(np.int32),
        "y": (x.sum(axis=1) + random.normal(size=rows)).astype(np.float32),
        "w": random.uniform(0.1, 3.0, rows).astype(np.float32),
    }


def one_worker(job, batches, inputs, labels, weight=None, class_weight=None):
    """Plain Keras over the global batches; what each step is given is written out here."""
    from zoo.orca.frameworks.keras.models import KerasModel

    made = KerasModel(job)

    def shaped(batch, names):
        found = [batch[n][:, None] if batch[n].ndim == 1 else batch[n] for n in names]
        return found[0] if len(found) == 1 else tuple(found)

    more = {"class_weight": class_weight} if class_weight else {}
    for batch in batches:
        x, y = shaped(batch, inputs), shaped(batch, labels)
        if weight:
            more["sample_weight"] = batch[weight]
        made.model.train_on_batch(x, y, **more)
    return made.model.get_weights()


def check(ranks, creator, data, config, *, epochs=2, inputs=("x", "u"), labels=("y",), **fields):
    """Train on several workers and on one."""
    weight = data.spec.weight.name if data.spec.weight else None
    ran = train(ranks, creator, data, batch_size=BATCH, epochs=epochs, config=config, **fields)
    same_on_all(ran)
    steps = epochs * data.plan(BATCH).steps_per_pass
    expected = ranks.alone(
        one_worker,
        job_of(TrainJob, creator, data.spec, config={**config, "per_execution": 1}),
        data.batches(BATCH, steps),
        inputs,
        labels,
        weight,
        fields.get("class_weight"),
    )
    found = list(ran[0].weights().values())
    assert len(found) == len(expected)
    for ours, plain in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5)
    return ran


@each_keras
@pytest.mark.parametrize(
    ("optimizer", "counts"),
    [(SGD, (50, 53)), (MOMENTUM, (30, 40, 33)), (ADAM, (50, 53)), (ADAM, (30, 40, 33))],
)
def test_optimizers_and_sparse_gradients(ranks, keras, optimizer, counts):
    data = Data.of(columns(), counts, features=("x", "u"))
    check(ranks, models.embedded, data, {"keras": keras, "optimizer": optimizer})


@pytest.mark.parametrize("name", ["legacy.Adam", "legacy.SGD"])
def test_legacy_optimizers(ranks, name):
    arguments = {"learning_rate": 0.01, **({"momentum": 0.9} if "SGD" in name else {})}
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    check(ranks, models.embedded, data, {"keras": 2, "optimizer": (name, arguments)})


@each_keras
def test_sparse_gradients_of_many_rows_travel_dense(ranks, keras):
    data = Data.of({**columns(), "u": columns()["u"] % 7}, (50, 53), features=("x", "u"))
    check(ranks, models.embedded, data, {"keras": keras, "vocabulary": 7, "optimizer": ADAM})


@pytest.mark.parametrize(
    ("keras", "clip"), [(2, "global_clipnorm"), (2, "clipvalue"), (3, "clipnorm")]
)
def test_clipping(ranks, keras, clip):
    optimizer = ("SGD", {"learning_rate": 0.1, clip: 0.01})
    data = Data.of({**columns(), "u": columns()["u"] % 7}, (50, 53), features=("x", "u"))
    check(ranks, models.embedded, data, {"keras": keras, "vocabulary": 7, "optimizer": optimizer})


@each_keras
def test_regularisation(ranks, keras):
    config = {"keras": keras, "regularizer": "l2", "table_regularizer": "l2"}
    check(ranks, models.embedded, Data.of(columns(), (50, 53), features=("x", "u")), config)


@each_keras
def test_sample_weights(ranks, keras):
    data = Data.of(columns(), (50, 53), features=("x", "u"), weight="w")
    check(ranks, models.embedded, data, {"keras": keras, "weighted": True})


@each_keras
def test_class_weights(ranks, keras):
    data = Data.of(columns(), (50, 53), features=("x",), labels=("label",))
    weights = {0: 0.5, 1: 2.0, 2: 1.0}
    config = {"keras": keras}
    check(
        ranks,
        models.classifier,
        data,
        config,
        inputs=("x",),
        labels=("label",),
        class_weight=weights,
    )


@each_keras
def test_several_inputs_and_outputs(ranks, keras):
    data = Data.of(columns(), (30, 40, 33), features=("x", "w"), labels=("y", "flag"))
    check(
        ranks,
        models.two_outputs,
        data,
        {"keras": keras},
        inputs=("x", "w"),
        labels=("y", "flag"),
    )


@each_keras
@pytest.mark.parametrize("counts", [(100, 3), (2, 0, 1)])
def test_steps_without_rows_of_some_rank(ranks, keras, counts):
    data = Data.of(columns(sum(counts)), counts, features=("x", "u"))
    config = {"keras": keras, "optimizer": ADAM, "per_execution": 4}
    ran = check(ranks, models.embedded, data, config)
    alone = train(ranks, models.embedded, data.merged(), batch_size=BATCH, epochs=1, config=config)
    if sum(counts) < BATCH:  # the same single batch
        for name, value in alone[0].trained.history.items():
            np.testing.assert_allclose(ran[0].trained.history[name][:1], value, rtol=1e-5)


@each_keras
def test_loss_that_is_a_sum(ranks, keras):
    data = Data.of(columns(), (30, 40, 33), features=("x", "u"))
    config = {"keras": keras, "optimizer": ("SGD", {"learning_rate": 0.001})}
    ran = check(ranks, summed, data, config)
    assert ran[0].trained.history["loss"][0] > 20


def summed(config):
    from tests.frameworks import models

    keras = models.keras_of(config)
    return models.embedded({**config, "loss": keras.losses.MeanSquaredError(reduction="sum")})


@each_keras
def test_run_eagerly(ranks, keras):
    data = Data.of(columns(), (30, 40, 33), features=("x", "u"))
    check(ranks, models.embedded, data, {"keras": keras, "eager": True}, epochs=1)


@each_keras
def test_steps_per_execution_that_does_not_divide(ranks, keras):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    check(ranks, models.embedded, data, {"keras": keras, "optimizer": ADAM, "per_execution": 4})


@each_keras
def test_model_built_by_its_first_batch(ranks, keras):
    data = Data.of(columns(), (50, 53), features=("x",))
    ran = train(ranks, models.deferred, data, batch_size=BATCH, epochs=2, config={"keras": keras})
    same_on_all(ran)
    alone = train(
        ranks, models.deferred, data.merged(), batch_size=103, epochs=2, config={"keras": keras}
    )
    whole = train(ranks, models.deferred, data, batch_size=103, epochs=2, config={"keras": keras})
    for name, value in alone[0].weights().items():
        np.testing.assert_allclose(whole[0].weights()[name], value, rtol=1e-5, atol=1e-5)


@each_keras
def test_custom_step_with_two_optimizers_sees_each_row_once(ranks, keras):
    data = Data.of(columns(), (30, 40, 33), features=("x", "n"))
    config = {"keras": keras, "optimizer": ADAM}
    ran = train(ranks, models.subclassed, data, batch_size=BATCH, epochs=2, config=config)
    same_on_all(ran)
    history = ran[0].trained.history
    assert history["seen"] == [103 * 102 / 2] * 2
    assert history["squares"] == [sum(n * n for n in range(103))] * 2
    assert 0 < history["raw"][0] < 100
    assert sorted(ran[0].trained.state.meta["optimizers"]) == ["", "other"]


@pytest.mark.parametrize("keras", [2, 3])
def test_loss_scaling(ranks, keras):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    ran = check(ranks, scaled, data, {"keras": keras, "optimizer": ADAM})
    if keras == 3:
        assert any("dynamic_scale" in name for name in ran[0].trained.state.tensors)


def scaled(config):
    from tests.frameworks import models

    keras = models.keras_of(config)
    model = models.embedded(config)
    wrapper = keras.mixed_precision.LossScaleOptimizer
    model.compile(wrapper(models.optimizer_of(config)), "mse", metrics=["mae"])
    return model


@each_keras
def test_mixed_precision_works_and_is_forgotten(ranks, keras):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    ran = train(ranks, half, data, batch_size=BATCH, epochs=1, config={"keras": keras})
    same_on_all(ran)
    assert np.isfinite(ran[0].trained.history["loss"][0])
    assert all(value.dtype == np.float32 for value in ran[0].weights().values())
    config = {"keras": keras}
    after = train(ranks, models.embedded, data, batch_size=BATCH, epochs=1, config=config)
    assert after[0].trained.outputs[0].dtype == "float32"


def half(config):
    from tests.frameworks import models

    keras = models.keras_of(config)
    if config["keras"] == 2:
        keras.mixed_precision.set_global_policy("mixed_float16")
    else:
        keras.config.set_dtype_policy("mixed_float16")
    return models.embedded({**config, "optimizer": ("Adam", {"learning_rate": 0.01})})
