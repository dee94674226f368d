"""What is wrong with a model is told before rows have moved, shortly."""

import pytest

from tests.frameworks.keras.test_equal import columns
from tests.frameworks.ranks import Data, Failed, evaluate, job_of, plugin_of
from zoo.orca.errors import ModelError
from zoo.orca.wire.job import TrainJob

pytestmark = pytest.mark.timeout(300)


def model(config):
    """A model, compiled or not."""
    from tests.frameworks.models import keras_of

    keras = keras_of(config)
    x = keras.Input((4,), name="x")
    found = keras.Model(x, keras.layers.Dense(1)(x))
    if config.get("loss") != "uncompiled":
        found.compile("sgd", config.get("loss", "mse"))
    if config.get("without_optimizer"):
        found.optimizer = None
    return found


def made(job):
    plugin = plugin_of(job)
    plugin.prepare(job, 1)
    plugin.make(job)


def refusal(keras_bench, creator, *, labels=("y",), features=("x",), **config):
    """The lines of what `make` says without a row."""
    data = Data.of(columns(), (103,), features=features, labels=labels)
    framework = keras_bench.family.framework
    job = job_of(
        TrainJob, creator, data.spec, config=keras_bench.config(**config), framework=framework
    )
    with pytest.raises(Failed) as caught:
        keras_bench.ranks.alone(made, job)
    assert caught.value.kind is ModelError
    return caught.value.message.splitlines()


def test_what_shows_without_rows(keras_bench):
    first, second = refusal(keras_bench, lambda config: None)
    assert first == "model_creator returned None, not a Keras model"
    assert "`return model`" in second
    first, second = refusal(keras_bench, model, loss="uncompiled")
    assert first == "the model is not compiled, and fit needs it to be"
    assert "model.compile(...)" in second and "compile_args_creator" in second
    first, second = refusal(keras_bench, model, without_optimizer=True)
    assert first == "the model is compiled without an optimizer, and fit needs one"
    assert "model.compile(optimizer='adam', ...)" in second
    first, second = refusal(keras_bench, model, labels=())
    assert first.startswith("fit has no label_cols, and the model is compiled with a loss")
    assert second == "Name the columns of the labels: fit(..., label_cols=['label'])"
    assert "'w'" in refusal(keras_bench, model, features=("w",))[0]


def test_a_model_without_a_loss_needs_no_labels(keras_bench):
    def creator(config):
        from tests.frameworks.models import keras_of

        keras = keras_of(config)

        class Penalty(keras.layers.Layer):
            def call(self, x):
                self.add_loss((x**2).mean() if hasattr(x, "mean") else _mean(x))
                return x

        def _mean(x):
            return keras.ops.mean(x**2) if hasattr(keras, "ops") else keras.backend.mean(x**2)

        x = keras.Input((4,), name="x")
        found = keras.Model(x, Penalty()(keras.layers.Dense(1)(x)))
        found.compile("sgd", None)
        return found

    data = Data.of(columns(), (103,), features=("x",), labels=())
    ran = keras_bench.train(creator, data)
    assert ran[0].trained.history["loss"][0] > 0


def test_an_evaluation_needs_no_optimizer(keras_bench):
    data = Data.of(columns(), (103,), features=("x",))
    found = [
        evaluate(
            keras_bench.ranks,
            model,
            data,
            config=keras_bench.config(without_optimizer=is_without),
            framework=keras_bench.family.framework,
        )
        for is_without in (False, True)
    ]
    assert found[0] == found[1]


def test_the_model_that_was_made_first_is_the_one_that_is_trained(keras_bench):
    """A creator is called once for a job."""
    data = Data.of(columns(), (103,), features=("x",))
    framework = keras_bench.family.framework
    calls = keras_bench.ranks.alone(called, data, framework, keras_bench.config())
    assert calls == 1


def called(data, framework, config):
    import sys

    from tests.frameworks.ranks import Alone, World

    sys.calls_of_the_creator = 0
    job = job_of(TrainJob, counting, data.spec, config=config, framework=framework)
    plugin, world = plugin_of(job), World(collective=Alone(), report=lambda progress: None)
    plugin.prepare(job, 1)
    plugin.make(job)
    plugin.train(job, data.rows(0, 32), None, world)
    return sys.calls_of_the_creator


def test_a_model_without_declared_inputs_is_called_twice_before_it_trains(keras_bench):
    """With two numbers of rows, which show the axis of rows: such a call runs the whole model."""
    if keras_bench.config()["keras"] == 3:
        pytest.skip("Keras 3 itself calls it, too, where it builds the parts of a step")
    data = Data.of(columns(), (103,), features=("x",))
    framework = keras_bench.family.framework
    assert keras_bench.ranks.alone(calls_before, data, framework, keras_bench.config()) == [2, 3]


def calls_before(data, framework, config):
    import sys

    from tests.frameworks.ranks import Alone, World
    from zoo.orca.frameworks.keras.training import loop

    sys.rows_of_calls = []
    job = job_of(TrainJob, subclassed, data.spec, config=config, framework=framework)
    plugin, world = plugin_of(job), World(collective=Alone(), report=lambda progress: None)
    plugin.prepare(job, 1)
    plugin.make(job)
    loop.KerasSession(plugin._waiting, data.rows(0, 32), job, world)
    return [rows for rows in sys.rows_of_calls if isinstance(rows, int)]


def subclassed(config):
    from tests.frameworks.models import keras_of

    keras = keras_of(config)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = keras.layers.Dense(1)

        def call(self, x):
            import sys

            if "Symbolic" not in type(x).__name__ and "Keras" not in type(x).__name__:
                sys.rows_of_calls.append(x.shape[0])
            return self.out(x)

    found = Model()
    found.compile("sgd", "mse")
    return found


def counting(config):
    import sys

    sys.calls_of_the_creator += 1
    return model(config)


def test_evaluate_says_so_too(keras_bench):
    data = Data.of(columns(), (103,), features=("x",), labels=())
    fields = {"config": keras_bench.config(), "framework": keras_bench.family.framework}
    with pytest.raises(Failed, match="evaluate has no label_cols"):
        evaluate(keras_bench.ranks, model, data, **fields)
