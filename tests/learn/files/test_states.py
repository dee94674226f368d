"""A state without what trained it."""

import numpy as np
import pytest

from zoo.orca.learn.files.states import weights_alone, without_optimizer
from zoo.orca.wire.packing import State

TENSORS = {
    name: np.zeros(2) for name in ("weights/0:w", "optimizer/0:m", "scheduler/0", "random/0")
}
KERAS = {
    "framework": "keras",
    "epoch": 3,
    "step": 9,
    "optimizers": {"": [0]},
    "cursor": {"step": 1},
}
TORCH = {"framework": "torch", "epoch": 3, "step": 9, "optimizers": [{}], "schedulers": [{}]}


@pytest.mark.parametrize(("meta", "none"), [(KERAS, {}), (TORCH, [])])
def test_weights_stay(meta, none):
    whole = State(dict(TENSORS), dict(meta))
    found = without_optimizer(whole)
    assert list(found.tensors) == ["weights/0:w", "random/0"]
    assert found.meta["optimizers"] == none and found.meta["epoch"] == 3
    begun = weights_alone(whole)
    assert list(begun.tensors) == list(found.tensors)
    assert (begun.meta["epoch"], begun.meta["step"]) == (0, 0)
    assert "cursor" not in begun.meta
    assert whole.meta == meta and list(whole.tensors) == list(TENSORS)
