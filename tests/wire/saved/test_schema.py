"""What a state's header may be: all that is saved, and nothing else."""

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.saved.samples import SAMPLES, altered, damaged, fake, keras, torch
from zoo.orca.errors import StateError
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.schema import check_state, first_line, read_state
from zoo.orca.wire.saved.values import Unsound

pytestmark = pytest.mark.timeout(120)

#: Inputs of one example of hypothesis, which takes longer to make one than they take to be read.
EACH = 20


def used(state: State) -> None:
    """Use a state's header as an estimator and its workers do."""
    if "columns" in state.meta:
        FeatureSpec.from_json(state.meta["columns"])
    for one in state.meta.get("outputs", ()):
        hash(OutputSpec.from_json(one))
    assert 0 <= state.meta["epoch"] and 0 <= state.meta["step"]
    state.to_bytes()


def refused(data: bytes) -> bool:
    """Whether a state's bytes are refused; anything but `StateError` fails the test."""
    try:
        state = read_state(data, "dir/state")
    except StateError as error:
        first, second = str(error).splitlines()
        assert first.startswith("dir/state is damaged: ") and second
        assert len(first) < 400
        return True
    used(state)
    return False


def framed(header: str, state: State) -> bytes:
    """The bytes of a state with another header."""
    text = header.encode("utf-8", "surrogatepass")
    tensors = [tensor.tobytes() for tensor in state.tensors.values()]
    return b"".join([b"orca\x01", len(text).to_bytes(8, "little"), text, *tensors])


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_saved_is_read(name: str) -> None:
    state = SAMPLES[name]()
    found = read_state(state.to_bytes(), name)
    assert list(found.tensors) == list(state.tensors)
    assert json.dumps(found.meta) == json.dumps(state.meta)
    used(found)


@settings(max_examples=250)
@given(st.integers(0, 1 << 32), st.sampled_from(sorted(SAMPLES)))
def test_bytes_that_were_damaged(seed: int, name: str) -> None:
    chance, state = random.Random(seed), SAMPLES[name]()
    data = state.to_bytes()
    for _ in range(EACH):
        refused(damaged(data, chance))


@settings(max_examples=250)
@given(st.integers(0, 1 << 32), st.sampled_from(sorted(SAMPLES)))
def test_headers_that_were_altered(seed: int, name: str) -> None:
    chance, state = random.Random(seed), SAMPLES[name]()
    data = state.to_bytes()
    size = int.from_bytes(data[5:13], "little")
    header = json.loads(data[13 : 13 + size])
    for _ in range(EACH):
        refused(framed(altered(header, chance), state))


def changed(state: State, **meta: Any) -> State:
    return State(state.tensors, {**state.meta, **meta})


CURSOR = keras().meta["cursor"]
OPTIMIZER = torch().meta["optimizers"][0]
GROUP = OPTIMIZER["param_groups"][0]


def padded(mask_of: str = "h", **padding: Any) -> State:
    """A state with one padded column and its mask."""
    column = {"name": "h", "dtype": "int32", "shape": [3], "parts": []}
    mask = {"name": "m", "dtype": "bool", "shape": [3], "parts": [], "mask_of": mask_of}
    padding = {"value": 0, "keep": "last", **padding}
    features = [{**column, "padding": padding}, mask]
    none = {"labels": [], "feature_keys": None, "label_keys": None}
    return changed(keras(), columns={"features": features, **none})


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (changed(fake(), epoch="x"), "epoch is 'x', not a whole number from 0 to "),
        (changed(fake(), epoch=-5), "epoch is -5, not a whole number from 0 to "),
        (changed(fake(), epoch=True), "epoch is True, not a whole"),
        (changed(fake(), step=1 << 60), "step is a number of 61 bits, not a whole number"),
        (changed(fake(), step=float("nan")), "step is nan, not a whole number"),
        (State({}, {"framework": "fake", "step": 1}), "it has no epoch"),
        (changed(keras(), epochs=3), "it has 'epochs', which nothing reads"),
        (changed(keras(), cursor={**CURSOR, "rows": 0}), "cursor.rows is 0, not a whole number"),
        (changed(keras(), cursor={**CURSOR, "step": 71}), "cursor.step is 71 of a pass over 70"),
        (changed(keras(), cursor=[1, 2]), "cursor is a list of 2, not an object"),
        (changed(keras(), optimizers={"": [0, -1]}), "optimizers..1 is -1, not a whole number"),
        (changed(keras(), optimizers={"": [1, 1]}), "optimizers. names a variable twice"),
        (changed(keras(), tables=[["a", 1]]), "tables.0 is a list of 2, not a list of 3"),
        (changed(keras(), history={"loss": ["1"]}), "history.loss.0 is '1', not a number"),
        (changed(keras(), columns={}), "columns has no features"),
        (padded(value=1.5), "columns.features.0.padding.value is no int32"),
        (padded(value="\u1234"), "columns.features.0.padding.value has characters that stand for"),
        (padded(keep="all"), "columns.features.0.padding.keep is 'all', not one of first, last"),
        (padded(value=7), None),
        (padded(mask_of="u"), "columns.column 1 tells the values of no padded column"),
        (changed(keras(), outputs=[{"name": "a"}]), "outputs.0 has no dtype"),
        (changed(torch(), optimizers=[{}]), "optimizers.0 has no list param_groups"),
        (
            changed(torch(), optimizers=[{**OPTIMIZER, "param_groups": [{**GROUP, "lr": "1"}]}]),
            "optimizers.0.param_groups.0 is '1', not a number",
        ),
        (changed(torch(), operator={}), "it has the tensor 'operator/seen', which nothing reads"),
        (
            changed(torch(), operator={"seen": {"$tensor": "operator/seen", "dtype": "load"}}),
            "operator.seen gives a tensor of int64 another dtype",
        ),
        (
            changed(torch(), operator={"seen": {"$tensor": "nowhere", "dtype": "int64"}}),
            "operator.seen names a tensor that is not there",
        ),
        (changed(torch(), made={"optimizers": []}), None),
        (changed(torch(), dtypes={"1.bias": "bfloat16"}), "dtypes.1.bias says the dtype of no"),
        (State({"a": np.zeros(1)}, keras().meta), "it has the tensor 'a', which nothing reads"),
    ],
)
def test_what_is_wrong_is_named(state: State, told: str | None) -> None:
    if told is None:
        check_state(state)
        return
    with pytest.raises(Unsound) as caught:
        check_state(state)
    assert str(caught.value).startswith(told)
    with pytest.raises(StateError) as refusal:
        read_state(state.to_bytes(), "dir/state")
    first, second = str(refusal.value).splitlines()
    assert first.startswith(f"dir/state is damaged: {told}")
    assert second == "Remove it, and train anew"


def test_a_place_of_an_earlier_release_is_read() -> None:
    earlier = {name: CURSOR[name] for name in ("pass", "step", "rows", "batch_size")}
    check_state(changed(keras(), cursor=earlier))


def test_another_plug_in_may_keep_what_it_likes() -> None:
    check_state(changed(fake(), framework="mine", more={"any": [1, None]}))


def test_what_a_reader_quotes_of_a_file_stays_on_one_line() -> None:
    assert first_line(ValueError("type: \x0c\x85é\nmore")) == "type: \\x0c\\x85é"
    assert first_line(ValueError()) == "ValueError"
