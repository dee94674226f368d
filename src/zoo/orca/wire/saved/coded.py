"""The form in which PyTorch's state is coded in a header: values, and the names of tensors.

`zoo.orca.frameworks.torch.saving.state` writes and reads it.
"""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from zoo.orca.wire.saved.values import (
    Unsound,
    as_object,
    listed,
    optional,
    rate,
    real,
    record,
    text,
    whole,
)

#: The names that mark a tensor, a tuple, and a dict whose keys are not all text.
TENSOR, TUPLE, PAIRS = "$tensor", "$tuple", "$pairs"

#: PyTorch's names of the dtypes that numpy has under the same name; bfloat16 travels as float32.
DTYPES = (
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)

_made_optimizer = record(
    {
        "class": text,
        "parameters": listed(listed(text)),
        "rates": listed(optional(real)),
    }
)
_made = record({}, {"optimizers": listed(_made_optimizer), "schedulers": listed(text)})


def made(value: Any) -> None:
    """Check how optimizers and schedules were made."""
    _made(value)
    for number, one in enumerate(value.get("optimizers", ())):
        if len(one["parameters"]) != len(one["rates"]):
            raise Unsound("has other groups than rates", f"optimizers.{number}")


def check(value: Any, tensors: Mapping[str, NDArray[Any]], used: set[str]) -> None:
    """Check a coded value; add the tensors that it names to `used`.

    The header's nesting is bounded already, so this may go down by recursion.
    """
    if isinstance(value, list):
        for number, one in enumerate(value):
            _inside(number, one, tensors, used)
    elif isinstance(value, dict):
        if any(not isinstance(name, str) or name.startswith("$") for name in value):
            _marked(value, tensors, used)
        else:
            for name, one in value.items():
                text(name)
                _inside(name, one, tensors, used)
    elif isinstance(value, str):
        text(value)
    elif value is not None:
        if not isinstance(value, (bool, int, float)):
            raise Unsound(f"is a {type(value).__name__}, which no state holds")


def optimizer(value: Any) -> None:
    """Check that a coded value has the form of an optimizer's state_dict."""
    as_object(value)
    groups = value.get("param_groups")
    if not isinstance(groups, list):
        raise Unsound("has no list param_groups")
    for number, group in enumerate(groups):
        try:
            as_object(group)
            listed(whole())(group.get("params"))
            if not isinstance(group.get("lr"), dict):  # a tensor is one
                optional(rate)(group.get("lr"))
        except Unsound as error:
            raise error.within(number).within("param_groups") from None


def _inside(name: object, one: Any, tensors: Mapping[str, NDArray[Any]], used: set[str]) -> None:
    try:
        check(one, tensors, used)
    except Unsound as error:
        raise error.within(name) from None


def _marked(value: dict[Any, Any], tensors: Mapping[str, NDArray[Any]], used: set[str]) -> None:
    """Check a dict that stands for something else."""
    if value.keys() == {TENSOR, "dtype"}:
        name, dtype = value[TENSOR], value["dtype"]
        tensor = tensors.get(name) if isinstance(name, str) else None
        if tensor is None:
            raise Unsound("names a tensor that is not there")
        is_short = dtype == "bfloat16" and tensor.dtype.name == "float32"
        if not is_short and (dtype not in DTYPES or tensor.dtype.name != dtype):
            raise Unsound(f"gives a tensor of {tensor.dtype} another dtype")
        used.add(name)
    elif value.keys() == {TUPLE} and isinstance(value[TUPLE], list):
        check(value[TUPLE], tensors, used)
    elif value.keys() == {PAIRS} and isinstance(value[PAIRS], list):
        for number, pair in enumerate(value[PAIRS]):
            if not isinstance(pair, list) or len(pair) != 2 or not _is_key(pair[0]):
                raise Unsound("is no pair of key and value", f"{number}")
            _inside(number, pair[1], tensors, used)
    else:
        raise Unsound("is marked as what no state holds")


def _is_key(value: Any) -> bool:
    """Whether a coded value may be the key of a dict."""
    if isinstance(value, dict):
        inside = value.get(TUPLE)
        return len(value) == 1 and isinstance(inside, list) and all(map(_is_key, inside))
    return value is None or isinstance(value, (bool, int, float, str))
