"""One value for all functions: it is there in each process, unpickled once."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from zoo.orca.errors import CreatorError, InvalidInputError
from zoo.orca.wire.packing import pack, unpack
from zoo.orca.wire.shards.shared import SharedValue


def test_two_functions_get_the_very_same_object():
    shared = SharedValue({"table": np.arange(3)})

    def function():
        return shared.value

    first, second = unpack(pack(function, "function")), unpack(pack(function, "function"))
    assert first() is second()
    np.testing.assert_array_equal(first()["table"], shared.value["table"])


def test_a_value_that_was_let_go_says_so_and_does_not_travel():
    shared = SharedValue([1])
    sent = pickle.dumps(shared)
    shared.unpersist()
    with pytest.raises(InvalidInputError, match="let go with unpersist"):
        shared.value  # noqa: B018
    with pytest.raises(InvalidInputError):
        pickle.dumps(shared)
    assert pickle.loads(sent).value == [1]


def test_what_cannot_travel_is_refused_at_once():
    with pytest.raises(CreatorError, match="data cannot be sent to the workers"):
        SharedValue((i for i in range(3)))


def test_values_of_two_programs_do_not_meet():
    # In containers, all drivers may have the same process id, and share a Spark Connect server.
    code = (
        "import os, pickle, sys; os.getpid = lambda: 7\n"
        "from zoo.orca.wire.shards.shared import SharedValue\n"
        "sys.stdout.buffer.write(pickle.dumps(SharedValue(sys.argv[1])))"
    )
    sent = [
        subprocess.run([sys.executable, "-c", code, name], check=True, capture_output=True).stdout
        for name in ("mine", "theirs")
    ]
    assert [pickle.loads(one).value for one in sent] == ["mine", "theirs"]
