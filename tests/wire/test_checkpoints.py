"""Checkpoints: what comes back, damaged ones, and names that sort as the training goes."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.saved.samples import damaged
from zoo.orca.errors import StateError
from zoo.orca.wire.checkpoints import Checkpoint, checkpoint_name, checkpoints_in
from zoo.orca.wire.outputs import OutputSpec, Scale
from zoo.orca.wire.packing import State

PLACES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**9)), unique=True)


@given(PLACES)
def test_the_newest_is_last(places):
    names = [checkpoint_name(*place) for place in places]
    others = ["final.state", "fit.json", "00000001.state.partial", "x"]
    assert checkpoints_in(names + others) == [checkpoint_name(*one) for one in sorted(places)]


STATE = State({"weights/0:w": np.arange(3.0)}, {"framework": "fake", "epoch": 1, "step": 7})


def test_what_ranks_and_callbacks_added_up_comes_back():
    sums = (State({"loss": np.ones(2)}), State({}, {"metrics": [1]}))
    counted = State({"best": np.ones(3)}, {"wait": 1})
    written = Checkpoint(state=STATE, history={"loss": [0.5]}, steps=3, sums=sums, counted=counted)
    read = Checkpoint.from_bytes(written.to_bytes(), "a")
    assert read.steps == 3 and read.history == {"loss": [0.5]}
    assert read.state.to_bytes() == STATE.to_bytes()
    assert read.counted is not None and read.counted.to_bytes() == counted.to_bytes()
    assert [one.to_bytes() for one in read.sums] == [one.to_bytes() for one in sums]


OUTPUT = OutputSpec(name="y", dtype="int8", row_shape=(2,), scale=Scale.LOGITS)


@pytest.mark.parametrize("outputs", [None, (), (OUTPUT,)])
def test_that_a_training_has_ended_comes_back(outputs):
    written = Checkpoint(state=STATE, history={}, outputs=outputs)
    read = Checkpoint.from_bytes(written.to_bytes(), "a")
    assert read.outputs == outputs
    assert read.state.meta == STATE.meta


def test_what_a_checkpoint_needs_is_asked_for():
    with pytest.raises(StateError, match="^a is damaged: it has no history\nRemove it"):
        Checkpoint.from_bytes(STATE.to_bytes(), "a")


@given(st.integers(0, 1 << 32))
def test_a_damaged_checkpoint_is_no_other_error(seed):
    chance = random.Random(seed)
    written = Checkpoint(state=STATE, history={}, steps=3, sums=(STATE,), counted=STATE).to_bytes()
    for _ in range(20):
        try:
            Checkpoint.from_bytes(damaged(written, chance), "a")
        except StateError as error:
            assert str(error).startswith("a is damaged: ")
