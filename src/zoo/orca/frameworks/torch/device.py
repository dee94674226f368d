"""The device of this process's models."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from zoo.orca.errors import DeviceError, ModelError
from zoo.orca.frameworks.common.structures import Structure


def device(gpus: int) -> torch.device:
    """Return the device for training and prediction: the worker's first GPU, or the CPU.

    Raises
    ------
    DeviceError
        PyTorch sees none of the worker's GPUs.
    """
    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError(
            f"num_gpus_per_worker={gpus}, and PyTorch {torch.__version__} sees no GPU on this "
            "worker\nInstall a build of torch for CUDA there, or train on processors with "
            "num_gpus_per_worker=0"
        )
    return torch.device("cuda", 0)


def moved(value: Structure, target: torch.device) -> Structure:
    """Return tensors, alone or in dicts, lists and tuples, on the device; others unchanged."""
    if isinstance(value, torch.Tensor):
        return value.to(target, non_blocking=True)
    if isinstance(value, dict):
        return {key: moved(one, target) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(moved(one, target) for one in value)
    return value


def flat_tensors(value: Structure) -> dict[str, torch.Tensor]:
    """Return a model's outputs by name: a dict's keys, or ``output_0``, … for several.

    Raises
    ------
    TypeError
        If the value holds no tensors, or anything else.
    ModelError
        If two have the same name.
    """
    if isinstance(value, torch.Tensor):
        return {"output_0": value}
    members = _members(value)
    if members is None:
        raise TypeError(f"something of type {type(value).__qualname__}")
    found: dict[str, torch.Tensor] = {}
    for name, one in members.items():
        if one is None:
            continue
        tensors = {name: one} if isinstance(one, torch.Tensor) else _inner(name, one)
        twice = sorted(found.keys() & tensors.keys())
        if twice:
            raise ModelError(
                f"two of the model's outputs would have the name {twice[0]!r}\n"
                "Rename a key of the dict that it returns"
            )
        found.update(tensors)
    if not found:
        raise TypeError("no tensor at all")
    return found


def has_names(value: Structure) -> bool:
    """Whether the parts of a model's result have names."""
    return isinstance(value, Mapping) or is_dataclass(value)


def _members(value: Structure) -> dict[str, Any] | None:
    """Return the parts of a model's result; None if it has none."""
    if isinstance(value, Mapping):
        return {str(key): one for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return {f"output_{number}": one for number, one in enumerate(value)}
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return None


def _inner(name: str, value: Structure) -> dict[str, torch.Tensor]:
    try:
        found = flat_tensors(value)
    except TypeError as error:
        raise TypeError(f"{error} as {name!r}") from error
    return {f"{name}_{key}": tensor for key, tensor in found.items()}
