"""Calls of several steps: how many, and that what is trained does not depend on it."""

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.keras.test_equal import ADAM, columns
from tests.frameworks.ranks import Data, same_on_all, train

pytestmark = pytest.mark.timeout(300)


class Steps:
    """A variable that notes what it was set to."""

    def __init__(self):
        self.values = []

    def assign(self, value):
        self.values.append(value)


@pytest.fixture
def meter(monkeypatch):
    pytest.importorskip("tensorflow")
    from zoo.orca.frameworks.keras.training import executions as keras_executions

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(keras_executions, "time", clock)
    found = keras_executions._Meter(Steps())
    found.clock = clock
    return found


def run(meter, calls, seconds, phase="train", step=-1):
    """Run calls of steps that take so long; return the step at which they end."""
    for _ in range(calls):
        step += meter._value
        meter.clock.now += meter._value * seconds
        meter.ended(phase, step)
    return step


def test_calls_of_short_steps_grow_to_a_limit(meter):
    run(meter, 6, 0.002)
    assert meter._steps.values == [8, 32, 64]


def test_calls_stay_short_in_time(meter):
    run(meter, 6, 0.02)
    assert meter._steps.values[-1] * 0.02 <= 0.2
    step = run(meter, 1, 0.02)
    run(meter, 4, 3.0, step=step)
    assert meter._steps.values[-1] == 1


def test_the_pause_between_epochs_does_not_count(meter):
    step = run(meter, 6, 0.002)
    meter.clock.now += 100.0
    run(meter, 1, 0.002, "test")
    meter.clock.now += 100.0
    run(meter, 2, 0.002, "train")
    assert step > 0
    assert meter._steps.values == [8, 32, 64]


def looking():
    """A callback that wants every step."""
    from tensorflow import keras

    class Looks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.seen = [*getattr(self.model, "seen", []), batch]

        def on_epoch_end(self, epoch, logs=None):
            assert self.model.seen == list(range(11)), self.model.seen
            self.model.seen = []

    return [Looks()]


def paced():
    """A callback that finds the function's loop."""
    from tensorflow import keras

    class Paced(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            assert int(self.model.steps_per_execution.numpy()) > 1

    return [Paced()]


@pytest.mark.parametrize("counts", [(103,), (50, 53)])
def test_same_numbers_whether_steps_are_looked_at_or_not(ranks, counts):
    data = Data.of(columns(), counts, features=("x", "u"))
    ran = []
    for make in (looking, paced):
        ran.append(
            train(
                ranks,
                models.embedded,
                data,
                validation=data,
                batch_size=10,
                epochs=2,
                config={"keras": 2, "optimizer": ADAM},
                make_callbacks=make,
            )
        )
        same_on_all(ran[-1])
    one, other = (found[0].trained for found in ran)
    for name, values in one.history.items():
        np.testing.assert_allclose(other.history[name], values, rtol=1e-6)
    for name, value in ran[0][0].weights().items():
        np.testing.assert_allclose(ran[1][0].weights()[name], value, rtol=1e-6, atol=1e-7)
