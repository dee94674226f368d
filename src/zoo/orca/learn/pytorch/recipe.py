"""The arguments of `from_torch`, packed for the workers part by part, so that errors name the part.

Nothing here imports PyTorch: a caller with an instance of its classes has imported it already.
"""

import sys
from collections.abc import Mapping
from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import check_engine, checked_config
from zoo.orca.wire.job import ModelSpec
from zoo.orca.wire.packing import pack

#: Engines of the original.
_ENGINES = ("bigdl", "horovod", "torch_distributed", "spark", "ray")


def torch_model(backend: str, config: Mapping[str, Any] | None, parts: dict[str, Any]) -> ModelSpec:
    """Return the parts of `recipe` and a config for the workers; without a model, no creator.

    Raises
    ------
    InvalidInputError
        As `from_torch`.
    """
    check_engine(backend, _ENGINES)
    settings = checked_config(config)
    creator = packed(parts) if "model" in parts else b""
    return ModelSpec(framework="torch", creator=creator, config=pack(settings, "config"))


def packed(parts: dict[str, Any]) -> bytes:
    """Return the parts of a recipe as bytes."""
    return pack(parts, "model")


def recipe(
    *,
    model: Any,
    optimizer: Any = None,
    loss: Any = None,
    metrics: Any = None,
    scheduler_creator: Any = None,
    training_operator_cls: Any = None,
    initialization_hook: Any = None,
    scheduler_step_freq: str | None = None,
    sync_batch_norm: bool = False,
) -> dict[str, Any]:
    """Return the given parts as bytes, by name.

    Raises
    ------
    InvalidInputError
        If a part is of the wrong kind.
    CreatorError
        If a part cannot be sent to the workers.
    """
    if model is not None and not _is_module(model) and not callable(model):
        raise InvalidInputError(
            f"model must be a torch.nn.Module or make one, got {type(model).__qualname__}\n"
            "Pass a torch.nn.Module, a class of one, or a function model(config) that returns one"
        )
    if scheduler_step_freq not in (None, "batch", "epoch"):
        raise InvalidInputError(
            f"scheduler_step_freq must be 'batch' or 'epoch', got {scheduler_step_freq!r}\n"
            "Write 'batch' for a step after each update, 'epoch' for one after each epoch"
        )
    parts: dict[str, Any] = {} if model is None else {"model": pack(_with_classes(model), "model")}
    parts |= {
        "scheduler_step_freq": scheduler_step_freq,
        "sync_batch_norm": bool(sync_batch_norm),
    }
    if optimizer is not None:
        parts["optimizer"] = pack(_portable(optimizer, model), "optimizer")
    others = {
        "loss": loss,
        "metrics": metrics,
        "scheduler_creator": scheduler_creator,
        "training_operator_cls": training_operator_cls,
        "initialization_hook": initialization_hook,
    }
    for name, value in others.items():
        if value is not None:
            parts[name] = pack(value, name)
    return parts


def _with_classes(model: Any) -> list[Any]:
    """Return the model; for an instance add the classes of its parts, which travel by value."""
    if not _is_module(model):
        return [model]
    return [model, *{type(part): None for part in model.modules()}]


def _portable(optimizer: Any, model: Any) -> Any:
    """Return an optimizer in a form that a worker can make for its copy of the parameters.

    A class or a creator stays as it is. For an instance, its class, hyperparameters and state
    travel, with the names of the parameters in each group.
    """
    if not hasattr(optimizer, "param_groups"):
        if not callable(optimizer):
            raise InvalidInputError(
                f"optimizer must be one of torch.optim or make one, got "
                f"{type(optimizer).__qualname__}\n"
                "Pass an optimizer, a class of one, or a function optimizer(model, config) that "
                "returns one"
            )
        return optimizer
    if not _is_module(model):
        raise InvalidInputError(
            "optimizer is an instance, so it holds the parameters of one model\nPass that model's "
            "instance too, or make optimizer a function optimizer(model, config)"
        )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups, members = [], []
    for group in optimizer.param_groups:
        parameters = group["params"]
        if any(id(parameter) not in names for parameter in parameters):
            raise InvalidInputError(
                "optimizer holds parameters that the model does not have\nMake it of "
                "model.parameters()"
            )
        members.append([names[id(parameter)] for parameter in parameters])
        groups.append({name: value for name, value in group.items() if name != "params"})
    return {
        "class": type(optimizer),
        "defaults": dict(optimizer.defaults),
        "groups": groups,
        "names": members,
        "state": optimizer.state_dict(),
    }


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
