"""The device of this process's models."""

from collections.abc import Mapping
from typing import Any

import torch

from zoo.orca.errors import DeviceError


def device(gpus: int) -> torch.device:
    """Return the device to train and predict on: the first of the worker's GPUs, or the CPU.

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
            "worker: install a build of torch for CUDA there, or train on processors with "
            "num_gpus_per_worker=0"
        )
    return torch.device("cuda", 0)


def moved(value: Any, target: torch.device) -> Any:
    """Return tensors, alone or in dicts, lists and tuples, on the device; others as they are."""
    if isinstance(value, torch.Tensor):
        return value.to(target, non_blocking=True)
    if isinstance(value, dict):
        return {key: moved(one, target) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(moved(one, target) for one in value)
    return value


def flat_tensors(value: Any) -> dict[str, torch.Tensor]:
    """Return a model's outputs by name: those of a dict, or ``output_0``, … of several.

    Raises
    ------
    TypeError
        If the value holds no tensors.
    """
    if isinstance(value, torch.Tensor):
        return {"output_0": value}
    if isinstance(value, Mapping):
        members = {str(key): one for key, one in value.items()}
    elif isinstance(value, (list, tuple)):
        members = {f"output_{number}": one for number, one in enumerate(value)}
    else:
        raise TypeError(f"a {type(value).__qualname__}")
    found: dict[str, torch.Tensor] = {}
    for name, one in members.items():
        if isinstance(one, torch.Tensor):
            found[name] = one
        elif one is not None:
            inner = flat_tensors(one)
            found.update({f"{name}_{key}": tensor for key, tensor in inner.items()})
    if not found:
        raise TypeError("no tensor at all")
    return found
