"""What a `fit` changes and a later one reads is in the state, or the page on it says that not."""

import numpy as np
import pytest

from tests.frameworks import stateful
from tests.frameworks.bench import ADAM, BATCH, SGD, columns
from tests.frameworks.ranks import Data, Failed, job_of, same_on_all
from zoo.orca.driver.storage import load_state, save_state
from zoo.orca.errors import StateError
from zoo.orca.wire.job import TrainJob

pytestmark = pytest.mark.timeout(300)

ALONE, TWO = (60,), (31, 29)


def data_of(counts):
    return Data.of(columns(sum(counts)), counts, features=("x",))


def saved(state, directory):
    """The state after `save` and `load`."""
    save_state(state, str(directory / "model"))
    return load_state(str(directory / "model"))


def goes_on(bench, directory, counts, *, make_callbacks=None, **more):
    """Two fits, a save and a load between them, end where one does."""
    config = bench.config(more.pop("optimizer", ADAM), **more)
    data, fields = data_of(counts), {"config": config, "make_callbacks": make_callbacks}
    whole = bench.train(stateful.layered, data, epochs=2, **fields)
    same_on_all(whole)
    first = bench.train(stateful.layered, data, epochs=1, **fields)[0].trained
    state = saved(first.state, directory)
    fields |= {"state": state, "initial_epoch": 1}
    second = bench.train(stateful.layered, data, epochs=1, **fields)[0].trained
    assert list(second.state.tensors) == list(whole[0].trained.state.tensors)
    for name, value in whole[0].trained.state.tensors.items():
        np.testing.assert_array_equal(second.state.tensors[name], value, err_msg=name)
    assert second.state.meta == whole[0].trained.state.meta
    joined = {name: first.history[name] + values for name, values in second.history.items()}
    assert joined == whole[0].trained.history
    return whole[0].trained


def version(keras_bench):
    return keras_bench.family.config["keras"]


@pytest.mark.parametrize(
    ("optimizer", "counts"),
    [
        (SGD, ALONE),
        (ADAM, TWO),
        (("Nadam", {"learning_rate": 0.01}), TWO),
        (("legacy.SGD", {"learning_rate": 0.1}), TWO),
        (("legacy.Adam", {"learning_rate": 0.01}), ALONE),
    ],
)
def test_optimizers_with_a_rate_that_a_callback_has_changed(
    keras_bench, tmp_path, optimizer, counts
):
    if optimizer[0].startswith("legacy.") and version(keras_bench) == 3:
        pytest.skip("Keras 3 has no legacy optimizers")
    halving = stateful.halving(version(keras_bench))
    goes_on(keras_bench, tmp_path, counts, optimizer=optimizer, make_callbacks=halving)


@pytest.mark.keras3_on_tensorflow
@pytest.mark.parametrize("layers", ["dropout", "seeded", "recurrent", "own", "normalised"])
def test_random_generators_and_statistics_of_layers(keras_bench, tmp_path, layers):
    goes_on(keras_bench, tmp_path, TWO, layers=layers)


@pytest.mark.parametrize("layers", ["dropout", "normalised"])
def test_those_of_a_worker_alone(keras_bench, tmp_path, layers):
    goes_on(keras_bench, tmp_path, ALONE, layers=layers)


@pytest.mark.keras3_on_tensorflow
@pytest.mark.parametrize("more", ["schedule", "scale", "accumulated"])
def test_schedules_and_scales(keras_bench, tmp_path, more):
    if more == "accumulated" and version(keras_bench) == 2:
        pytest.skip("Keras 2 does not accumulate gradients")
    goes_on(keras_bench, tmp_path, TWO, more=more)


def test_the_rate_that_a_plateau_has_left_is_the_next_fits_first(keras_bench):
    config, data = keras_bench.config(SGD), data_of(ALONE)
    fields = {"config": config, "make_callbacks": stateful.plateau(version(keras_bench))}
    first = keras_bench.train(stateful.layered, data, epochs=3, **fields)[0].trained
    fields |= {"state": first.state, "initial_epoch": 3}
    second = keras_bench.train(stateful.layered, data, epochs=1, **fields)[0].trained
    name = "lr" if version(keras_bench) == 2 else "learning_rate"
    # Keras notes the rate of an epoch before its callbacks lower it.
    assert first.history[name] == pytest.approx([0.1, 0.1, 0.05])
    assert second.history[name] == pytest.approx([0.025])


@pytest.mark.parametrize(("ending", "more"), [(".keras", None), (".h5", None), (".keras", "scale")])
def test_files_of_keras_keep_the_optimizer_and_its_rate(keras_bench, tmp_path, ending, more):
    config, data = keras_bench.config(ADAM, more=more), data_of(ALONE)
    fields = {"config": config, "make_callbacks": stateful.halving(version(keras_bench))}
    state = keras_bench.train(stateful.layered, data, epochs=2, **fields)[0].trained.state
    framework = keras_bench.family.framework
    job = job_of(TrainJob, stateful.layered, data.spec, config=config, framework=framework)
    path = str(tmp_path / f"model{ending}")
    read, alone = keras_bench.ranks.alone(written_and_read, job, state, path)
    rate = "learning_rate"
    assert [name for name in read.tensors if rate in name]
    kept, found = (
        [
            value
            for name, value in one.tensors.items()
            # Files of Keras 2 have no loss scale.
            if not name.startswith("random") and not name.endswith(("loss_scale", "good_steps"))
        ]
        for one in (state, read)
    )
    for before, after in zip(kept, found, strict=True):
        np.testing.assert_array_equal(after, before)
    # Weights alone are what `load_weights` is for.
    rates = [float(value) for name, value in alone.tensors.items() if rate in name][-1:]
    assert rates == (pytest.approx([0.0025]) if ending == ".keras" else [])


@pytest.mark.parametrize("ending", [".keras", ".h5", ".weights.h5"])
def test_damaged_files_are_refused(keras_bench, tmp_path, ending):
    job = job_of(
        TrainJob,
        stateful.layered,
        data_of(ALONE).spec,
        config=keras_bench.config(),
        framework=keras_bench.family.framework,
    )
    path = tmp_path / f"model{ending}"
    for damaged in (b"", b"PK\x03\x04 and no more", b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(Failed, match=path.name) as caught:
            keras_bench.ranks.alone(read_anew, job, str(path))
        assert caught.value.kind is StateError


def read_anew(job, path):
    from zoo.orca.frameworks.keras.saving import files as keras_files

    return keras_files.load_weights(job, path, whole=True)


def written_and_read(job, state, path):
    from dataclasses import replace

    from zoo.orca.frameworks.keras.saving import files as keras_files

    job = replace(job, state=state.to_bytes())
    keras_files.save_model(job, path)
    fresh = replace(job, state=None)
    return keras_files.load_weights(fresh, path, whole=True), keras_files.load_weights(fresh, path)


def test_averages_of_weights_end_a_fit_as_in_keras(keras_bench):
    """With `use_ema` a fit ends with the averages, so that the next one begins with them."""
    if keras_bench.family.environment.get("KERAS_BACKEND") == "jax":
        pytest.skip("plain Keras fails in its second fit there")
    config, data = keras_bench.config(more="averaged"), data_of(ALONE)
    first = keras_bench.train(stateful.layered, data, epochs=1, config=config)[0].trained
    fields = {"state": first.state, "initial_epoch": 1, "config": config}
    second = keras_bench.train(stateful.layered, data, epochs=1, **fields)[0]
    framework = keras_bench.family.framework
    job = job_of(TrainJob, stateful.layered, data.spec, config=config, framework=framework)
    batches = data.batches(BATCH, 6)
    plain = keras_bench.ranks.alone(fitted_twice, job, batches[:3], batches[3:])
    for ours, theirs in zip(second.weights().values(), plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def fitted_twice(job, *parts):
    """Plain Keras's weights after one fit over each part's batches."""
    from zoo.orca.frameworks.keras.models import KerasModel

    made = KerasModel(job)
    for batches in parts:
        x, y = (np.concatenate([batch[name] for batch in batches]) for name in "xy")
        made.model.fit(x, y[:, None], batch_size=len(batches[0]["x"]), shuffle=False, verbose=0)
    return made.model.get_weights()


def test_callbacks_begin_each_fit_anew_as_keras_itself_lets_them(keras_bench):
    """Of two fits of two epochs none is stopped by a patience of two, which one of four is."""
    config, data = keras_bench.config(SGD), data_of(ALONE)
    stops = patience(version(keras_bench))
    fields = {"config": config, "make_callbacks": stops}
    whole = keras_bench.train(stateful.layered, data, epochs=4, **fields)[0].trained
    assert len(whole.history["loss"]) == 3
    first = keras_bench.train(stateful.layered, data, epochs=2, **fields)[0].trained
    fields |= {"state": first.state, "initial_epoch": 2}
    second = keras_bench.train(stateful.layered, data, epochs=2, **fields)[0].trained
    assert len(first.history["loss"]) == len(second.history["loss"]) == 2


def patience(number):
    def make():
        from tests.frameworks.models import keras_of

        keras = keras_of({"keras": number})
        return [keras.callbacks.EarlyStopping("loss", patience=2, min_delta=1e6)]

    return make


def test_what_callbacks_do_to_objects_of_the_model_is_not_kept(keras_bench):
    """The creator makes the model anew for each fit: a layer that was frozen is not any more."""
    config, data = keras_bench.config(SGD), data_of(ALONE)
    fields = {"config": config, "make_callbacks": freezing(version(keras_bench))}
    first = keras_bench.train(stateful.layered, data, epochs=1, **fields)[0]
    fields |= {"state": first.trained.state, "initial_epoch": 1, "make_callbacks": None}
    second = keras_bench.train(stateful.layered, data, epochs=1, **fields)[0]
    for name, value in first.weights().items():
        assert (second.weights()[name] != value).any(), name


def freezing(number):
    def make():
        from tests.frameworks.models import keras_of

        keras = keras_of({"keras": number})

        class Freeze(keras.callbacks.Callback):
            def on_train_end(self, logs=None):
                for layer in self.model.layers:
                    layer.trainable = False

        return [Freeze()]

    return make
