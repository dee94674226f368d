"""States as each framework saves them, and what may happen to a file on its way."""

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.orca.wire.packing import State

COLUMNS = {
    "features": [
        {"name": "x", "dtype": "float32", "shape": [4], "parts": [], "binary": False},
        {"name": "[u, v]", "dtype": "int64", "shape": [None], "parts": ["u", "v"]},
        {
            "name": "h",
            "dtype": "string",
            "shape": [3],
            "parts": [],
            "padding": {"value": "\xff", "keep": "first"},
        },
        {"name": "m", "dtype": "bool", "shape": [3], "parts": [], "mask_of": "h"},
    ],
    "labels": [{"name": "y", "dtype": "int32", "shape": [], "parts": [], "binary": False}],
    "feature_keys": ["x", "uv", "h", "m"],
    "label_keys": None,
}
OUTPUT = {
    "name": "output_0",
    "dtype": "float32",
    "row_shape": [2, None],
    "named": False,
    "keyed": True,
    "problem": "",
    "scale": "probabilities",
}
COMMON = {
    "epoch": 3,
    "step": 21,
    "cursor": {
        "pass": 3,
        "step": 0,
        "rows": 70,
        "batch_size": 10,
        "window": None,
        "canonical": True,
    },
    "columns": COLUMNS,
    "outputs": [OUTPUT],
    "model": "c0ffee",
    "stream": {"batch": 0, "query": "b3f1"},
    "history": {"loss": [1.0, float("nan"), 0.25]},
    "gradient_bytes": 40,
}


def keras() -> State:
    """A state of Keras, with everything that its header may have."""
    tensors = {
        "weights/0:kernel": np.arange(8, dtype=np.float32).reshape(4, 2),
        "weights/1:bias": np.zeros(2, np.float32),
        "random/0:seed": np.array([1, 2], np.uint32),
        "optimizer/0:iterations": np.array(21, np.int64),
        "optimizer/hyper:learning_rate": np.array(0.01, np.float32),
    }
    own = {"framework": "keras", "keras": "3", "optimizers": {"": [0, 1]}}
    return State(tensors, {**COMMON, **own, "tables": [["lookup", 3, "ab12"]]})


def torch() -> State:
    """A state of PyTorch, with everything that its header may have."""
    tensors = {
        "weights/0.weight": np.arange(8, dtype=np.float32).reshape(2, 4),
        "weights/0.bias": np.zeros(2, np.float32),
        "optimizer/0/state/0/exp_avg": np.ones((2, 4), np.float32),
        "operator/seen": np.array(7, np.int64),
    }
    average = {"$tensor": "optimizer/0/state/0/exp_avg", "dtype": "float32"}
    group = {"lr": 0.01, "betas": {"$tuple": [0.9, 0.999]}, "foreach": None, "params": [0, 1]}
    optimizer = {"state": {"$pairs": [[0, {"exp_avg": average}]]}, "param_groups": [group]}
    own = {
        "framework": "torch",
        "dtypes": {"0.bias": "bfloat16"},
        "optimizers": [optimizer],
        "schedulers": [{"best": float("inf"), "last_epoch": 3}],
        "operator": {"seen": {"$tensor": "operator/seen", "dtype": "int64"}},
        "made": {
            "optimizers": [{"class": "Adam", "parameters": [["0.weight", ""]], "rates": [0.01]}],
            "schedulers": ["ExponentialLR"],
        },
    }
    return State(tensors, {**COMMON, **own})


def fake() -> State:
    """The least that a state may be."""
    return State({"weights/w": np.zeros(3)}, {"framework": "fake", "epoch": 1, "step": 2})


SAMPLES: dict[str, Callable[[], State]] = {"keras": keras, "torch": torch, "fake": fake}

#: What a value may be replaced by.
_OTHERS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, -5, 1.5, 2**53, 2**63, 10**30, float("nan"), float("inf")),
    *("", "x", "\ud800", "$tensor", [], {}, [[]], [None], {"$tuple": 1}, {"$pairs": [[{}, 1]]}),
    *({"$tensor": "weights/w", "dtype": "load"}, ["weights/w", "object", [3]], "a" * 1000),
)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with some of them flipped, cut out, repeated or moved."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        # Most of the form is in the first bytes.
        end = chance.choice((20, 200, len(found)))
        place = chance.randrange(max(1, min(end, len(found))))
        other = chance.randrange(max(1, len(found)))
        kind = chance.randrange(5)
        if kind == 0 and found:
            found[min(place, len(found) - 1)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del found[place:]
        elif kind == 2:
            del found[place : place + chance.choice((1, 2, 8, 50))]
        elif kind == 3:
            found[place:place] = found[other : other + chance.choice((1, 8, 50))]
        else:
            found[place : place + 8] = chance.randbytes(chance.choice((1, 8)))
    return bytes(found)


def altered(value: Any, chance: random.Random) -> str:
    """Return a JSON text of a value with something else somewhere in it."""
    marks: dict[str, str] = {}
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        value = _altered(value, chance, marks)
    found = json.dumps(value)
    for mark, stands_for in marks.items():
        found = found.replace(f'"{mark}"', stands_for)
    return found


def _altered(value: Any, chance: random.Random, marks: dict[str, str]) -> Any:
    inside = (
        list(value) if isinstance(value, dict) else range(len(value)) if _is_list(value) else []
    )
    if inside and chance.random() < 0.85:
        key = chance.choice(inside)
        found = dict(value) if isinstance(value, dict) else list(value)
        found[key] = _altered(found[key], chance, marks)
        return found
    kind = chance.randrange(6)
    if kind == 0 and inside:  # something is missing
        found = dict(value) if isinstance(value, dict) else list(value)
        del found[chance.choice(inside)]
        return found
    if kind == 1 and isinstance(value, dict):  # something is new
        return {**value, chance.choice(("new", "$tuple", "epoch", "1", "")): chance.choice(_OTHERS)}
    if kind == 2 and _is_list(value):
        return [*value, chance.choice((*value, *_OTHERS))]
    if kind == 3:
        mark = f"mark-{len(marks)}"
        marks[mark] = chance.choice(
            ("[" * 5000 + "]" * 5000, '{"a":' * 3000 + "1" + "}" * 3000, "9" * 5000, "1e999")
            + ('{"a": 1, "a": 2}', "{", "-", "[1,]", '"\\u12"', "NaN")
        )
        return mark
    return chance.choice(_OTHERS)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))
