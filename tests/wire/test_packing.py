"""Values as bytes."""

import importlib
import pickle
import queue
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zoo.orca.errors import CreatorError, StateError
from zoo.orca.wire.packing import State, join, pack, split, unpack
from zoo.orca.wire.pickling import find_culprit

pytestmark = pytest.mark.timeout(120)

DTYPES = ["bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64"]
tensors = hnp.arrays(
    st.sampled_from([np.dtype(name) for name in DTYPES]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


def assert_same(one, other):
    assert list(one.tensors) == list(other.tensors)
    assert one.meta == other.meta
    for name, tensor in one.tensors.items():
        assert other.tensors[name].dtype == tensor.dtype
        assert other.tensors[name].shape == tensor.shape
        # By their bytes: NaN is a value like any other.
        assert other.tensors[name].tobytes() == tensor.tobytes()


@given(st.dictionaries(st.text(max_size=20), tensors, max_size=5))
def test_a_state_comes_back(found):
    state = State(found, {"framework": "tf2", "epoch": 3, "nested": [1, {"a": None}]})
    assert_same(state, State.from_bytes(state.to_bytes()))


def test_special_tensors_come_back():
    state = State(
        {
            "scalar": np.array(1.5, np.float32),
            "empty": np.empty((0, 3), np.int64),
            "bool": np.array([True, False]),
            "int8": np.arange(-3, 3, dtype=np.int8),
            "half": np.array([1.5, np.nan, np.inf], np.float16),
            "turned": np.arange(6.0).reshape(2, 3).T,
        }
    )
    assert_same(state, State.from_bytes(state.to_bytes()))
    assert state.nbytes == 4 + 0 + 2 + 6 + 6 + 48


def test_a_state_without_tensors_comes_back():
    assert_same(State({}, {"epoch": 1}), State.from_bytes(State({}, {"epoch": 1}).to_bytes()))


def test_other_bytes_are_refused():
    with pytest.raises(StateError, match="not a state"):
        State.from_bytes(b"something else altogether")


def test_a_state_cut_short_is_refused():
    data = State({"w": np.zeros(100)}).to_bytes()
    with pytest.raises(StateError, match="cut short.*'w'"):
        State.from_bytes(data[:-1])


@given(st.binary(max_size=200), st.integers(1, 50))
def test_split_and_join(data, size):
    pieces = list(split(data, size))
    assert join(pieces) == data
    assert all(0 < len(piece) <= size for piece in pieces) or data == b""


def test_no_data_is_one_empty_piece():
    assert list(split(b"")) == [b""]


def test_a_closure_travels():
    factor = 3
    assert unpack(pack(lambda x: factor * x, "model_creator"))(2) == 6


def test_what_a_closure_holds_is_named():
    lock = threading.Lock()

    def creator(config):
        return lock

    with pytest.raises(CreatorError) as raised:
        pack(creator, "model_creator")
    assert str(raised.value) == (
        "model_creator cannot be sent to the workers, because it uses 'lock' of type lock, which "
        "cannot be pickled\nCreate that inside model_creator instead of using it from outside"
    )
    assert raised.value.__cause__ is not None


def test_what_lies_deeper_is_named():
    connection = threading.Lock()

    def helper():
        return connection

    def creator(config):
        return helper()

    with pytest.raises(CreatorError, match="'connection'"):
        pack(creator, "model_creator")


def test_what_a_configuration_holds_is_named():
    with pytest.raises(CreatorError, match="config.*'handle' of type lock"):
        pack({"lr": 1, "handle": threading.Lock()}, "config")


def test_what_a_callback_holds_is_named():
    class Callback:
        def __init__(self):
            self.stream = threading.Lock()

    with pytest.raises(CreatorError, match="callbacks"):
        pack([Callback()], "callbacks")
    assert find_culprit(Callback())[0] == "stream"


def test_the_users_own_module_travels_by_value(tmp_path, monkeypatch):
    (tmp_path / "my_model.py").write_text(
        "FACTOR = 5\ndef helper(x):\n    return FACTOR * x\ndef creator(x):\n    return helper(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("my_model")
    try:
        data = pack(module.creator, "model_creator")
    finally:
        del sys.modules["my_model"]
    # Another process does not find the module, and does not need it.
    script = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read())(2))"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run(
        [sys.executable, "-c", script], input=data, capture_output=True, env=environment
    )
    assert done.stdout.strip() == b"10", done.stderr.decode()


def test_installed_modules_travel_by_reference():
    assert len(pack(np.linalg.norm, "model_creator")) < 200
    assert pickle.loads(pack(np.linalg.norm, "model_creator")) is np.linalg.norm


class Frame:
    """Stands for one of Spark's, which come from another module."""


Frame.__name__, Frame.__module__ = "DataFrame", "pyspark.sql.connect.dataframe"


def test_what_is_sparks_stays_and_the_way_out_is_to_collect():
    ratings = Frame()

    class Holder:
        def __init__(self):
            self.inner = [{"frame": ratings}]

    for value in (lambda config: ratings, Holder()):
        with pytest.raises(CreatorError) as raised:
            pack(value, "model_creator")
        assert "'" in str(raised.value) and "which cannot be pickled" in str(raised.value)
        assert "Spark is there in this program alone" in str(raised.value).splitlines()[1]
    assert find_culprit(Holder()) == ("inner.[0].frame", ratings)


def test_a_library_is_not_searched_for_what_is_wrong_inside_it():
    class Made:
        pass

    made = Made()
    made.queue = queue.Queue()  # with locks inside
    assert find_culprit(lambda config: made) == ("made.queue", made.queue)
    with pytest.raises(CreatorError) as raised:
        pack({"queue": made.queue}, "config")
    assert str(raised.value) == (
        "config cannot be sent to the workers, because it uses 'queue' of type Queue, which cannot "
        "be pickled\nLeave it out of config, and make it inside the creator"
    )


NAMED = 7


def test_what_only_the_body_of_a_class_names_travels():
    def creator(config):
        class Model:
            size = NAMED

            def forward(self, x: Frame, scale: float = NAMED) -> pytest.Item:
                return self.size * scale * x

        return Model()

    assert unpack(pack(creator, "model_creator"))({}).forward(2) == 98
