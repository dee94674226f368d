"""The device of this process's models."""

from typing import Any

import torch


def device() -> torch.device:
    """Return the device to train and predict on: the GPU that this process may see, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
    if isinstance(value, dict):
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
