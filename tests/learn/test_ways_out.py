"""What an error about an argument says to write is taken from its text, written, and taken."""

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn import arguments
from zoo.orca.learn.keras.backend import checked_backend
from zoo.orca.learn.metrics import AUC
from zoo.orca.learn.options import EngineOptions
from zoo.orca.learn.outputs import prediction_columns
from zoo.orca.wire.outputs import OutputSpec

KEYED = tuple(
    OutputSpec(name=name, dtype="float32", row_shape=(), named=True, keyed=True)
    for name in ("price", "volume")
)


def options(**given: Any) -> None:
    EngineOptions(**given).check()


def epochs(epochs: Any) -> None:
    arguments.positive("epochs", epochs)


def creator(model_creator: Any) -> None:
    arguments.check_creator("model_creator", model_creator, "a compiled model", "config")


def written(way: str) -> Iterator[dict[str, Any]]:
    """Every argument that a line writes as Python, with its value."""
    for found in re.finditer(r"\b[a-z_]+=", way):
        text = way[found.start() :]
        for end in range(len(text), 0, -1):
            try:
                call = ast.parse(f"f({text[:end]})", mode="eval").body
            except SyntaxError:
                continue
            if isinstance(call, ast.Call) and len(call.keywords) == 1 and not call.args:
                one = call.keywords[0]
                yield {str(one.arg): eval(ast.unparse(one.value), {})}
                break


CALLS: list[tuple[Callable[..., Any], str, list[Any]]] = [
    (epochs, "epochs", [0, -1, 2.5, "3", True, None, 3.0, np.int64(3), float("nan")]),
    (options, "num_workers", [0, -1, 2.0, "2", True]),
    (options, "workers_per_node", [0, None, 1.5, np.int32(2)]),
    (options, "num_gpus_per_worker", [-1, 0.5, None]),
    (options, "seed", [-1, 1 << 32, None, "7", 1.5, np.uint32(7)]),
    (arguments.verbosity, "verbose", [-1, "loud", 1.5, None]),
    (arguments.checked_name, "name", [3, "", "  "]),
    (arguments.checked_config, "config", [[1], "lr", 3]),
    (arguments.class_weights, "given", [[1.0, 2.0], {"a": 1.0}, {-1: 1.0}, {0.5: 1.0}]),
    (arguments.class_weights, "given", [{0: "1"}, {1: float("nan")}, {0: 1.0, "0": 2.0}]),
    (AUC, "threshold_num", [1, 2.5, None]),
    (checked_backend, "given", ["mxnet", "TORCH", ""]),
    (arguments.packed_callbacks, "callbacks", [3, object, {"a": 1}]),
    (arguments.frequency, "value", [0, -1, 1.5, "2", None, True, [0], [1, 2.5], ["a"]]),
]
#: Functions whose parameter has another name than the argument that a user writes.
ARGUMENTS = {
    (arguments.class_weights, "given"): "class_weight",
    (arguments.frequency, "value"): "validation_freq",
    (checked_backend, "given"): "keras_backend",
}


@pytest.mark.parametrize(
    ("call", "name", "value"),
    [(call, name, value) for call, name, values in CALLS for value in values],
)
def test_what_it_says_to_write_is_taken(call: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        call(**{name: value})
    first, second = str(caught.value).splitlines()
    ways = list(written(second))
    assert ways, second
    for way in ways:
        assert list(way) == [ARGUMENTS.get((call, name), name)]
        call(**{name: next(iter(way.values()))})


@pytest.mark.parametrize("value", [3, "resnet50", lambda: None, lambda a, b: None])
def test_the_creator_that_it_says_to_write_is_one(value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        creator(value)
    second = str(caught.value).splitlines()[1]
    there: dict[str, Any] = {}
    exec(re.match(r"Write (def .*: \.\.\.), and let it return", second)[1], there)
    creator(there["model_creator"])


def test_batch_size_is_given_to_fit() -> None:
    config = {"batch_size": 32, "lr": 0.1}
    with pytest.raises(InvalidInputError, match=r"\nTake it out of config, and give it to fit$"):
        arguments.checked_config(config)
    del config["batch_size"]
    assert arguments.checked_config(config) == {"lr": 0.1}


@pytest.mark.parametrize(
    "names",
    [
        ["p", "v"],
        {"price": "p", "other": "v"},
        {"price": "p", "volume": "v", "x": "y"},
        {"price": "p"},
        {"volume": "v"},
        {},
    ],
)
def test_outputs_are_named_as_it_says(names: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        prediction_columns(KEYED, names)
    (way,) = written(str(caught.value).splitlines()[1])
    assert list(way) == ["output_cols"]
    found = prediction_columns(KEYED, way["output_cols"])
    assert len(set(found)) == 2
    given = names if isinstance(names, dict) else dict(zip(("price", "volume"), names, strict=True))
    for output, column in given.items():
        if output in ("price", "volume"):
            assert found[("price", "volume").index(output)] == column
