"""What Keras's own callbacks count goes into a checkpoint and comes back as it was."""

import math
from typing import Any

import numpy as np
import pytest

from zoo.orca.errors import StateError
from zoo.orca.frameworks.keras.saving.counts import read_counts, write_counts
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.nests import to_state


class Model:
    weights = (np.zeros((2, 3)), np.zeros(3))


class EarlyStopping:
    """Has the attributes of Keras's."""

    __module__ = "keras.src.callbacks.early_stopping"
    model = Model()

    def __init__(self) -> None:
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best: Any = math.inf
        self.best_weights: Any = None


class Own(EarlyStopping):
    """A user's own, which counts something else besides."""

    seen = 0


class ReduceLROnPlateau:
    """A user's own class of a known name."""

    wait = 1


def counting(**values: Any) -> EarlyStopping:
    made = Own()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def given_back(*callbacks: Any) -> list[Any]:
    """Callbacks that go on with what others have counted."""
    state = State.from_bytes(read_counts(callbacks, "keras").to_bytes())
    others = [type(one)() for one in callbacks]
    write_counts(others, state)
    return others


def test_counts_come_back() -> None:
    weights = [np.arange(6.0).reshape(2, 3), np.float32([1, 2, 3])]
    best = np.float32(0.1)
    own = counting(wait=2, best=best, best_weights=weights, seen=7)
    other, plain, _ = given_back(own, EarlyStopping(), ReduceLROnPlateau())
    assert (other.wait, other.best, other.seen) == (2, float(best), 0)
    for one, wanted in zip(other.best_weights, weights, strict=True):
        np.testing.assert_array_equal(one, wanted)
    assert vars(plain) == vars(EarlyStopping())


def test_what_was_counted_stays_while_training_goes_on() -> None:
    weights = [np.zeros((2, 3)), np.zeros(3)]
    state = read_counts([counting(best_weights=weights)], "keras")
    for one in weights:
        one += 1
    assert [tensor.any() for tensor in state.tensors.values()] == [False, False]


def test_callbacks_that_are_not_the_same_begin_anew() -> None:
    state = read_counts([counting(wait=2, best_weights=[np.ones(5)]), EarlyStopping()], "keras")
    other, plain = Own(), ReduceLROnPlateau()
    write_counts([other, plain], state)  # type: ignore[list-item]
    assert other.wait == 2 and other.best_weights is None and plain.wait == 1


@pytest.mark.parametrize(
    "value",
    [
        3,
        [["EarlyStopping", {"wait": "long"}]],
        [["EarlyStopping", {"best_weights": [1.0]}]],
        [["EarlyStopping", {"__class__": 1}]],
    ],
)
def test_a_damaged_one_is_told(value: Any) -> None:
    with pytest.raises(StateError, match="what callbacks have counted is damaged: "):
        write_counts([EarlyStopping()], to_state(value, "keras"))
