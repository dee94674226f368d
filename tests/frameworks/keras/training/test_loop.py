"""What a `fit` goes through: callbacks, statistics, state, progress."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.keras.test_equal import ADAM, columns, each_keras
from tests.frameworks.ranks import Data, job_of, predict_job, same_on_all, train
from zoo.orca.wire.job import BuildJob
from zoo.orca.wire.messages.progress import EpochBegan, EpochEnded, StepTaken, Warned

pytestmark = pytest.mark.timeout(300)


def callbacks(number, make):
    """A function that makes Keras's callbacks where Keras is."""

    def made():
        if number == 2:
            from tensorflow import keras
        else:
            import keras
        return make(keras)

    return made


@each_keras
def test_early_stopping_and_plateau_act_alike(ranks, keras):
    data = Data.of(columns(), (90, 13), features=("x", "u"))
    ran = train(
        ranks,
        models.embedded,
        data,
        validation=data,
        batch_size=20,
        epochs=9,
        config={"keras": keras},
        make_callbacks=callbacks(
            keras,
            lambda k: [
                k.callbacks.ReduceLROnPlateau("val_loss", 0.5, patience=1, min_delta=10.0),
                k.callbacks.EarlyStopping(
                    "val_loss", min_delta=10.0, patience=3, restore_best_weights=True
                ),
            ],
        ),
    )
    same_on_all(ran)
    history = ran[0].trained.history
    assert len(history["loss"]) == 4
    rate = history["lr" if keras == 2 else "learning_rate"]
    assert rate[0] == pytest.approx(0.1) and rate[-1] < 0.1
    assert ran[0].trained.state.meta["epoch"] == 4


@each_keras
def test_statistics_are_averaged(ranks, keras):
    data = Data.of(columns(), (50, 53), features=("x",))
    ran = train(
        ranks,
        models.normalised,
        data,
        validation=data,
        batch_size=20,
        epochs=2,
        config={"keras": keras},
    )
    same_on_all(ran)
    mean = next(v for n, v in ran[0].weights().items() if "moving_mean" in n)
    expected = np.zeros(4)
    plan = data.plan(20)
    for epoch in range(2):
        own = []
        for rank, shard in enumerate(data.shards):
            moved = expected.copy()
            for rows in itertools.islice(plan.steps(rank, 6 * epoch), 6):
                moved = 0.5 * moved + 0.5 * shard["x"][rows].mean(axis=0)
            own.append(moved * plan.counts[rank] / plan.rows)
        expected = np.sum(own, axis=0)
    np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-5)


@each_keras
@pytest.mark.parametrize(("counts", "steps"), [((50, 53), None), ((103,), 4)])
def test_two_fits_equal_one(ranks, keras, counts, steps):
    data = Data.of(columns(), counts, features=("x", "u"))
    common = {
        "batch_size": 20,
        "config": {"keras": keras, "optimizer": ADAM},
        "steps_per_epoch": steps,
    }
    whole = train(ranks, models.embedded, data, epochs=4, **common)
    first = train(ranks, models.embedded, data, epochs=2, **common)
    state = first[0].trained.state
    second = train(ranks, models.embedded, data, epochs=2, initial_epoch=2, state=state, **common)
    for name, value in whole[0].trained.state.tensors.items():
        np.testing.assert_array_equal(second[0].trained.state.tensors[name], value, err_msg=name)
    assert second[0].trained.state.meta == whole[0].trained.state.meta
    joined = {
        name: first[0].trained.history[name] + values
        for name, values in second[0].trained.history.items()
    }
    assert joined == whole[0].trained.history
    assert len(set(whole[0].trained.state.tensors)) == len(whole[0].trained.state.tensors)


@each_keras
def test_state_of_several_optimizers_comes_back(ranks, keras):
    data = Data.of(columns(), (50, 53), features=("x", "n"))
    common = {"batch_size": 20, "config": {"keras": keras, "optimizer": ADAM}}
    whole = train(ranks, models.subclassed, data, epochs=2, **common)
    first = train(ranks, models.subclassed, data, epochs=1, **common)
    second = train(
        ranks,
        models.subclassed,
        data,
        epochs=1,
        initial_epoch=1,
        state=first[0].trained.state,
        **common,
    )
    for name, value in whole[0].trained.state.tensors.items():
        np.testing.assert_array_equal(second[0].trained.state.tensors[name], value, err_msg=name)


@each_keras
def test_dropout_differs_over_ranks_and_training_is_repeatable(ranks, keras):
    data = Data.of(columns(), (50, 53), features=("x",))
    ran = [
        train(ranks, dropping, data, batch_size=20, epochs=1, config={"keras": keras})
        for _ in range(2)
    ]
    same_on_all(ran[0])
    for name, value in ran[0][0].weights().items():
        np.testing.assert_array_equal(ran[1][0].weights()[name], value)
    # The same rows on both ranks, and only one rank's count: with the same masks it would not
    # matter which, as it does not without masks.
    twice = {name: np.concatenate([value[:20], value[:20]]) for name, value in columns().items()}
    losses = {}
    for rate in (0.5, 0.0):
        config = {"keras": keras, "rate": rate}
        for counting in (0, 1):
            twice["w"] = np.repeat(np.eye(2, dtype="f4")[counting], 20)
            data = Data.of(twice, (20, 20), features=("x",), weight="w")
            once = train(ranks, dropping, data, batch_size=40, config=config, shuffle=False)
            losses[rate, counting] = once[0].trained.history["loss"][0]
    assert losses[0.0, 0] == pytest.approx(losses[0.0, 1], rel=1e-5)
    assert losses[0.5, 0] != pytest.approx(losses[0.5, 1], rel=1e-3)


def dropping(config):
    from tests.frameworks import models

    keras = models.keras_of(config)
    dropout = keras.layers.Dropout(config.get("rate", 0.5))
    model = keras.Sequential([keras.Input((4,)), dropout, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_progress(ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    ran = train(ranks, models.embedded, data, batch_size=20, epochs=2, config={"keras": 2})
    assert ran[1].progress == []
    kinds = [type(p) for p in ran[0].progress if not isinstance(p, StepTaken)]
    assert kinds == [EpochBegan, EpochEnded] * 2
    end = ran[0].progress[-1]
    assert (end.steps, end.rows) == (6, 103)
    began = [p for p in ran[0].progress if isinstance(p, EpochBegan)]
    assert [(p.epoch, p.epochs, p.steps) for p in began] == [(0, 2, 6), (1, 2, 6)]
    assert end.logs == {n: v[-1] for n, v in ran[0].trained.history.items()}


@each_keras
def test_nan_loss_is_one_warning(ranks, keras):
    rows = columns()
    rows["y"][60] = np.nan
    data = Data.of(rows, (50, 53), features=("x",))
    ran = train(ranks, models.deferred, data, batch_size=20, epochs=3, config={"keras": keras})
    warnings = [p for p in ran[0].progress if isinstance(p, Warned)]
    assert len(warnings) == 1 and "loss" in warnings[0].text and "epoch 1" in warnings[0].text
    assert len(ran[0].trained.history["loss"]) == 3


@each_keras
def test_files_are_written_by_rank_0_alone(ranks, keras, tmp_path):
    data = Data.of(columns(), (50, 53), features=("x",))
    log, best = str(tmp_path / "log.csv"), str(tmp_path / "best.weights.h5")
    train(
        ranks,
        models.deferred,
        data,
        batch_size=20,
        epochs=2,
        config={"keras": keras},
        make_callbacks=callbacks(
            keras,
            lambda k: [
                k.callbacks.CSVLogger(log, append=True),
                k.callbacks.ModelCheckpoint(best, save_weights_only=True, monitor="loss"),
            ],
        ),
    )
    assert len(Path(log).read_text().splitlines()) == 3
    assert (tmp_path / "best.weights.h5").exists()


@each_keras
def test_predictor_equals_predict(ranks, keras):
    data = Data.of(columns(), (103,), features=("x", "w"), labels=("y", "flag"))
    state = train(ranks, models.two_outputs, data, config={"keras": keras})[0].trained.state
    predict_spec = type(data.spec)(features=data.spec.features)
    job = predict_job(models.two_outputs, predict_spec, state=state, config={"keras": keras})
    found, expected, outputs = ranks.alone(predictions, job, data.shards[0])
    assert [(o.name, o.dtype, o.rank) for o in outputs] == [
        ("first", "float32", 2),
        ("second", "float32", 2),
    ]
    for ours, plain in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-6)


def predictions(job, columns):
    from tests.frameworks.ranks import predicted
    from zoo.orca.frameworks.keras.models import KerasModel
    from zoo.orca.frameworks.keras.saving.state import write_state
    from zoo.orca.wire.packing import State

    found, outputs = predicted(job, columns)
    made = KerasModel(job)
    write_state(made, State.from_bytes(job.state), optimizers=False)
    return found, made.model.predict((columns["x"], columns["w"][:, None]), verbose=0), outputs


@each_keras
def test_build_then_predict_with_strings_and_an_uncompiled_model(ranks, keras):
    words = np.array([b"a", b"b", b"c", b"a"], object)
    data = Data.of({"s": words, "y": np.zeros(4, np.float32)}, (4,), features=("s",))
    spec = type(data.spec)(features=data.spec.features)
    job = job_of(BuildJob, looked_up, spec, config={"keras": keras})
    built, found = ranks.alone(build_and_predict, job, looked_up, spec, keras, data.shards[0])
    assert built.outputs[0].rank == 2
    assert found[0].shape == (4, 1)
    assert found[0][0] == found[0][3] != found[0][1]


def looked_up(config):
    from tests.frameworks import models

    keras = models.keras_of(config)
    s = keras.Input((1,), dtype="string")
    numbers = keras.layers.StringLookup(vocabulary=["a", "b"])(s)
    flat = keras.layers.Flatten()(keras.layers.Embedding(3, 2)(numbers))
    return keras.Model(s, keras.layers.Dense(1)(flat))


def build_and_predict(job, creator, spec, keras, columns):
    from tests.frameworks.ranks import predict_job, predicted
    from zoo.orca.frameworks.tf2 import framework

    built = framework().build(job, columns)
    again = predict_job(creator, spec, state=built.state, config={"keras": keras}, batch_size=3)
    return built, predicted(again, columns)[0]
