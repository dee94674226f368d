"""The end of a fit on one of several ranks."""

from typing import Any

import numpy as np
import pytest

from tests.fake_estimator import linear
from tests.worker.group import train_job
from zoo.orca.wire.packing import State
from zoo.orca.worker.child.resume import Resumable
from zoo.orca.worker.plugin import World

STATE = State({"weights/w": np.arange(3.0)}, {"epoch": 2})


class Ranks:
    """A collective of two ranks, which nobody calls."""

    size = 2

    def __init__(self, rank: int) -> None:
        self.rank = rank


@pytest.mark.parametrize(("rank", "wanted"), [(0, STATE.to_bytes()), (1, b"")])
def test_the_state_is_taken_on_rank_0_alone(rank: int, wanted: bytes) -> None:
    taken = []

    def take() -> State:
        taken.append(rank)
        return STATE

    collective: Any = Ranks(rank)
    world = World(collective=collective, report=lambda progress: None)
    assert Resumable(train_job(linear()), world).finish(take) == (wanted, "")
    assert taken == [0][rank:]
