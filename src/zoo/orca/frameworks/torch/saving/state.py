"""A model's state as named tensors and JSON, and back, without pickle.

::

    weights/NAME        the model's state_dict: parameters and buffers
    optimizer/I/...     tensors of an optimizer's state_dict; the rest is in the header
    scheduler/I/...     the same for a schedule
    operator/...        the same for the user's own operator
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.parameter import is_lazy

from zoo.orca.errors import StateError
from zoo.orca.wire.packing import GRADIENT_BYTES, State, sent_bytes
from zoo.orca.wire.saved.coded import PAIRS, TENSOR, TUPLE
from zoo.orca.worker.collective.protocol import Collective

if TYPE_CHECKING:
    from zoo.orca.frameworks.torch.training.operator import TrainingOperator

_WEIGHTS = "weights/"
_DTYPES = "dtypes"
Tensors = dict[str, NDArray[Any]]


def read_state(
    model: torch.nn.Module,
    meta: Mapping[str, Any],
    *,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    schedulers: Sequence[torch.optim.lr_scheduler.LRScheduler] = (),
    operator: Mapping[str, Any] | None = None,
) -> State:
    """Return the state of a model and of its optimizers, schedules and operator."""
    tensors: Tensors = {}
    dtypes: dict[str, str] = {}
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise StateError(f"the model's state {name!r} is a {type(value).__qualname__}")
        tensors[_WEIGHTS + name] = to_numpy(value)
        if value.dtype == torch.bfloat16:
            dtypes[name] = "bfloat16"
    parts = {
        "optimizers": [
            encode(one.state_dict(), f"optimizer/{k}", tensors) for k, one in enumerate(optimizers)
        ],
        "schedulers": [
            encode(_plain(one), f"scheduler/{k}", tensors) for k, one in enumerate(schedulers)
        ],
        "operator": encode(dict(operator or {}), "operator", tensors),
    }
    fixed = {"framework": "torch", _DTYPES: dtypes, GRADIENT_BYTES: _gradient_bytes(model)}
    return State(tensors, {**meta, **fixed, **parts})


def _gradient_bytes(model: torch.nn.Module) -> int:
    """Return the bytes of a step's gradients; parameters without a shape have none yet."""
    trained = (one for one in model.parameters() if one.requires_grad and not is_lazy(one))
    return sum(
        one.numel() * sent_bytes(np.float64 if one.dtype == torch.float64 else np.float32)
        for one in trained
    )


def write_weights(model: torch.nn.Module, state: State) -> None:
    """Give a model the weights and buffers of a state.

    Raises
    ------
    StateError
        If they do not fit the model. The message names the first one.
    """
    own = model.state_dict()
    saved = weights_of(state)
    for name, value in saved.items():
        if name not in own:
            raise StateError(
                f"the state has the weights {name!r}, and the model has none of them\n"
                "Load it into the model that it was saved from"
            )
        if tuple(own[name].shape) != tuple(value.shape):
            raise StateError(
                f"the model's weights do not fit the state: {name!r} has shape "
                f"{tuple(value.shape)} there and {tuple(own[name].shape)} in the model\n"
                "Load it into the model that it was saved from"
            )
    missing = [name for name in own if name not in saved]
    if missing:
        raise StateError(
            f"the state has no weights {missing[0]!r}, which the model has\n"
            "Load it into the model that it was saved from"
        )
    model.load_state_dict(saved)


def is_built(model: torch.nn.Module, state: State) -> bool:
    """Whether a model has its weights; lazy models get them with their first rows."""
    own = model.state_dict()
    saved = {n.removeprefix(_WEIGHTS) for n in state.tensors if n.startswith(_WEIGHTS)}
    return own.keys() == saved and not any(map(is_lazy, own.values()))


def weights_of(state: State) -> dict[str, torch.Tensor]:
    """Return a model's state_dict."""
    dtypes = state.meta.get(_DTYPES, {})
    found = {}
    for name, value in state.tensors.items():
        if name.startswith(_WEIGHTS):
            key = name.removeprefix(_WEIGHTS)
            tensor = torch.from_numpy(np.array(value))
            found[key] = tensor.to(torch.bfloat16) if dtypes.get(key) == "bfloat16" else tensor
    return found


def write_training(
    state: State,
    optimizers: Sequence[torch.optim.Optimizer],
    schedulers: Sequence[torch.optim.lr_scheduler.LRScheduler],
    operator: "TrainingOperator",
) -> None:
    """Restore the state of optimizers, schedules and operator.

    Raises
    ------
    StateError
        If numbers or shapes do not fit.
    """
    parts = (("optimizers", "optimizer", optimizers), ("schedulers", "scheduler", schedulers))
    for key, what, objects in parts:
        saved = state.meta.get(key) or []
        if not saved:  # weights only
            continue
        if len(saved) != len(objects):
            raise StateError(
                f"the state is of {len(saved)} {key}, and this estimator has {len(objects)}\n"
                "Load it into an estimator of as many"
            )
        for k, (one, value) in enumerate(zip(objects, saved, strict=True)):
            try:
                if what == "scheduler":
                    _refuse_methods(one, value)
                one.load_state_dict(decode(value, state.tensors))
            except Exception as error:  # whatever an optimizer of any kind says of others' values
                raise StateError(
                    f"the state of {what} {k} does not fit: {type(error).__name__}: {error}\n"
                    "Call load(path, optimizer=False): it takes the weights alone"
                ) from error
    own = decode(state.meta.get("operator") or {}, state.tensors)
    if own:
        operator.load_state_dict(own)


def _refuse_methods(scheduler: object, names: Mapping[str, Any]) -> None:
    """Refuse values that would hide a schedule's methods: it takes any name as an attribute."""
    for name in names:
        if callable(getattr(type(scheduler), name, None)):
            raise ValueError(f"it has a value {name!r}, which is a method")


def share_weights(model: torch.nn.Module, collective: Collective) -> None:
    """Give every rank the weights of rank 0; called on all ranks."""
    if collective.size == 1:
        return
    own = read_state(model, {}).to_bytes() if collective.rank == 0 else None
    received = collective.broadcast(own)
    if collective.rank != 0:
        write_weights(model, State.from_bytes(bytes(received)))


def training_bytes(model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    """Return the bytes of a state's tensors."""
    values = list(model.state_dict().values())
    for optimizer in optimizers:
        for slots in optimizer.state.values():
            for slot in slots.values():
                several = slot if isinstance(slot, list) else [slot]
                values += [value for value in several if isinstance(value, torch.Tensor)]
    return sum(value.numel() * value.element_size() for value in values)


def to_numpy(value: torch.Tensor) -> NDArray[Any]:
    """Return a copy as an array; bfloat16, which numpy does not know, as float32."""
    value = value.detach()
    if value.dtype == torch.bfloat16:
        value = value.float()
    return np.array(value.cpu().numpy(), order="C")


def encode(value: object, place: str, tensors: Tensors) -> Any:
    """Return a value as JSON; put its tensors into `tensors`, with names that begin with `place`.

    Raises
    ------
    StateError
        If it holds anything but tensors, numbers, text, lists, tuples and dicts.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (torch.Tensor, np.ndarray)):
        if place in tensors:  # of a dict with the keys 1 and "1"
            raise StateError(
                f"{place} stands for two tensors\nGive the keys of a dict different texts"
            )
        tensor = torch.as_tensor(value)
        tensors[place] = to_numpy(tensor)
        return {TENSOR: place, "dtype": str(tensor.dtype).removeprefix("torch.")}
    if isinstance(value, list):
        return [encode(one, f"{place}/{k}", tensors) for k, one in enumerate(value)]
    if isinstance(value, tuple):
        return {TUPLE: [encode(one, f"{place}/{k}", tensors) for k, one in enumerate(value)]}
    if isinstance(value, Mapping):
        coded = {key: encode(one, f"{place}/{key}", tensors) for key, one in value.items()}
        if all(isinstance(key, str) and not key.startswith("$") for key in coded):
            return coded
        return {PAIRS: [[encode(key, place, tensors), one] for key, one in coded.items()]}
    raise StateError(
        f"{place} holds a {type(value).__module__}.{type(value).__qualname__}, which cannot be "
        "saved\nA state is made of tensors, numbers, text, lists, tuples and dicts"
    )


def decode(value: object, tensors: Mapping[str, NDArray[Any]]) -> Any:
    """Return the value that was passed to `encode`."""
    if isinstance(value, list):
        return [decode(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    if TENSOR in value:
        tensor = torch.from_numpy(np.array(tensors[value[TENSOR]]))
        return tensor.to(getattr(torch, value["dtype"]))
    if TUPLE in value:
        return tuple(decode(one, tensors) for one in value[TUPLE])
    if PAIRS in value:
        return {_key(decode(key, tensors)): decode(one, tensors) for key, one in value[PAIRS]}
    return {key: decode(one, tensors) for key, one in value.items()}


def _key(key: object) -> object:
    return tuple(key) if isinstance(key, list) else key


def _plain(scheduler: torch.optim.lr_scheduler.LRScheduler) -> dict[str, Any]:
    """Return a schedule's state without functions, which the creator makes."""
    found = {}
    for key, value in scheduler.state_dict().items():
        if callable(value) and not isinstance(value, (int, float, str)):
            continue
        found[key] = value
    return found
