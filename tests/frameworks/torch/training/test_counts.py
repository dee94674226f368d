"""What callbacks tell of what they count goes into a checkpoint and comes back as it was."""

from typing import Any

import pytest
import torch

from zoo.orca.errors import StateError
from zoo.orca.frameworks.torch.training.counts import read_counts, write_counts
from zoo.orca.learn.pytorch.callbacks import Callback
from zoo.orca.wire.packing import State


class Counts(Callback):
    def __init__(self) -> None:
        self.told: Any = None

    def state_dict(self) -> Any:
        return self.told

    def load_state_dict(self, state: Any) -> None:
        self.told = state


class Others(Counts):
    """Is of another class."""


def test_counts_come_back_to_callbacks_of_the_same_class() -> None:
    given = [Callback(), Counts(), Counts()]
    given[1].told = {"wait": 2, "best": torch.ones(3), "seen": (1, "a")}
    given[2].told = {"wait": 3}
    state = State.from_bytes(read_counts(given).to_bytes())
    callbacks = [Callback(), Counts(), Others()]
    write_counts(callbacks, state)
    told = callbacks[1].told
    assert torch.equal(told.pop("best"), torch.ones(3))
    assert told == {"wait": 2, "seen": (1, "a")}
    assert callbacks[2].told is None


def test_what_no_state_holds_is_told() -> None:
    made = Counts()
    made.told = {"model": object()}
    with pytest.raises(StateError, match="callbacks/0/model holds a builtins.object"):
        read_counts([made])


@pytest.mark.parametrize("found", [None, [["Counts"]], [["Counts", {"a": {"$tensor": "b"}}]]])
def test_a_damaged_one_is_told(found: Any) -> None:
    with pytest.raises(StateError, match="what callbacks have counted is damaged: "):
        write_counts([Counts()], State({}, {"callbacks": found}))
