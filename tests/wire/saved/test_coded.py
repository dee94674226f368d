"""How PyTorch's state is coded in a header."""

from typing import Any

import numpy as np
import pytest

from zoo.orca.wire.saved.coded import check, made, optimizer
from zoo.orca.wire.saved.values import Unsound

TENSORS = {"a": np.zeros(3, np.float32), "b": np.zeros(2, np.int64)}


@pytest.mark.parametrize(
    ("value", "uses"),
    [
        ({"x": [1, None, "y", True, 0.5], "z": {}}, set()),
        ({"$tuple": [{"$tensor": "a", "dtype": "bfloat16"}]}, {"a"}),
        ({"$pairs": [[{"$tuple": [0, "k"]}, {"$tensor": "b", "dtype": "int64"}]]}, {"b"}),
    ],
)
def test_what_may_be_coded(value: Any, uses: set[str]) -> None:
    found: set[str] = set()
    check(value, TENSORS, found)
    assert found == uses


@pytest.mark.parametrize(
    "value",
    [
        {"$tensor": "a"},
        {"$tensor": "a", "dtype": "float64"},
        {"$tensor": "b", "dtype": "bfloat16"},
        {"$tensor": ["a"], "dtype": "float32"},
        {"$tensor": "a", "dtype": ["float32"]},
        {"$tensor": "a", "dtype": "float32", "more": 1},
        {"$tuple": 1},
        {"$tuple": [], "a": 1},
        {"$pairs": [[1]]},
        {"$pairs": [[[1], 2]]},
        {"$pairs": [[{"$tensor": "a", "dtype": "float32"}, 2]]},
        {"$other": 1},
        [{"a": [object()]}],
        {1: 2},
    ],
)
def test_what_may_not(value: Any) -> None:
    with pytest.raises(Unsound):
        check(value, TENSORS, set())


def test_an_optimizer_has_groups_of_parameters() -> None:
    optimizer({"state": {}, "param_groups": [{"params": [0, 1], "lr": 0.1}, {"params": []}]})
    tensor = {"$tensor": "a", "dtype": "float32"}
    optimizer({"param_groups": [{"params": [0], "lr": tensor}]})
    for group in (1, {}, {"params": ["0"]}, {"params": [0], "lr": float("nan")}):
        with pytest.raises(Unsound):
            optimizer({"param_groups": [group]})
    for other in ([], {}, {"param_groups": {}}):
        with pytest.raises(Unsound):
            optimizer(other)


def test_how_optimizers_were_made() -> None:
    one = {"class": "Adam", "parameters": [["w"], ["b"]], "rates": [0.1, None]}
    made({"optimizers": [one], "schedulers": ["StepLR"]})
    made({})
    for other in ({**one, "rates": [0.1]}, {**one, "class": 1}, {"class": "Adam"}, 1):
        with pytest.raises(Unsound):
            made({"optimizers": [other]})
