"""Metrics: made from the user's argument, updated by rows, reduced over workers by state."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torchmetrics import Metric, MetricCollection

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.torch.metrics.inputs import Outputs, outputs_for
from zoo.orca.frameworks.torch.metrics.orca_metrics import (
    MeanOfCalls,
    MetricOfKey,
    curve_values,
    make,
)
from zoo.orca.frameworks.torch.models import takes_two
from zoo.orca.frameworks.torch.saving.state import decode, encode
from zoo.orca.frameworks.torch.training.losses import LossFunction
from zoo.orca.wire.packing import State
from zoo.orca.worker.collective.protocol import Collective

#: The attribute that identifies a metric of `zoo.orca.learn.metrics`.
_DESCRIPTION = "orca_metric"
#: Where a state holds those of all metrics.
_KEY = "metrics"


class Described(Protocol):
    """A metric of `zoo.orca.learn.metrics`."""

    arguments: dict[str, Any]

    @property
    def orca_metric(self) -> str:
        """The name of the metric, and of its results."""


def metrics_of(
    given: Any,
    config: dict[str, Any],
    device: torch.device,
    loss: LossFunction | None = None,
    key: str | None = None,
) -> dict[str, Metric]:
    """Return metrics by name.

    Parameters
    ----------
    given : object
        None, one metric, a list, a dict by name, or a function of `config` that returns one of
        these. A metric is one of Orca's or of torchmetrics, as an object or a class, or a function
        of output and target.
    config : dict
    device : torch.device
    loss : callable, optional
        The model's loss, which tells what its outputs are.
    key : str, optional
        The entry of dicts of outputs and labels that the loss is of, and so the metrics.

    Raises
    ------
    ModelError
        If something among them is not a metric.
    """
    if given is None:
        return {}
    if _is_function(given) and not takes_two(given):
        given = given(config)
    outputs = outputs_for(loss)
    if isinstance(given, MetricCollection):
        given = dict(given.items(copy_state=False))
    if isinstance(given, Mapping):
        named = {str(name): _metric(one, outputs) for name, one in given.items()}
    else:
        named = {}
        for one in given if isinstance(given, (list, tuple)) else [given]:
            metric = _metric(one, outputs)
            name = getattr(one, _DESCRIPTION, None) or type(metric).__name__
            if _is_function(one):
                name = getattr(one, "__name__", type(one).__name__).strip("<>")
            named[name if name not in named else f"{name}_{len(named)}"] = metric
    if key is not None:
        own = (MeanOfCalls,)  # functions get what the loss would: dicts
        named = {
            n: one if isinstance(one, own) else MetricOfKey(one, key) for n, one in named.items()
        }
    for metric in named.values():
        metric.to(device)
        for part in _parts(metric):
            # Orca reduces it; torchmetrics must not do so again if torch.distributed is set up.
            part.sync_on_compute = False
            part._to_sync = False
    return named


def alone(given: "Described") -> Metric:
    """Return the metric for one of Orca's, of outputs that are probabilities."""
    return _metric(given, outputs_for(None))


def grows(metric: Metric) -> bool:
    """Whether a metric keeps every row that it has seen."""
    return any(
        isinstance(default, list) and not getattr(part, "is_bounded", False)
        for part in _parts(metric)
        for default in part._defaults.values()
    )


def results(metrics: Mapping[str, Metric], collective: Collective) -> dict[str, float]:
    """Return the values over all workers, and start anew; called on all ranks."""
    found: dict[str, float] = {}
    if collective.size > 1 and metrics:
        _merge(metrics, collective)
    for name, metric in metrics.items():
        axes = getattr(metric, "axes", None)
        if axes is not None:
            found.update(curve_values(name, metric.compute(), axes))
        else:
            _spread(name, metric.compute(), found)
        metric.reset()
    return found


def _metric(given: Any, outputs: Outputs) -> Metric:
    if _is_described(given):
        if function := given.arguments.get("func"):
            return MeanOfCalls(function)
        return make(getattr(given, _DESCRIPTION), dict(given.arguments), outputs)
    if isinstance(given, type):
        given = given()
        return _metric(given, outputs)
    if isinstance(given, Metric):
        return given
    if _is_function(given) and takes_two(given):
        return MeanOfCalls(given)
    raise ModelError(
        f"{given!r} is no metric\n"
        "Pass those of zoo.orca.learn.metrics or of torchmetrics, functions of output and target, "
        "or a dict of them by name"
    )


def _is_function(given: object) -> bool:
    """Whether something is the user's function: a creator, or a metric itself."""
    return callable(given) and not isinstance(given, (type, Metric)) and not _is_described(given)


def _is_described(given: object) -> bool:
    return not isinstance(given, type) and hasattr(given, _DESCRIPTION)


def _parts(metric: Metric) -> list[Metric]:
    """Return a metric and its inner metrics, in an order that is the same on all ranks."""
    return [part for part in metric.modules() if isinstance(part, Metric)]


def states(metrics: Mapping[str, Metric]) -> State:
    """Return the metrics' states on this rank."""
    tensors: dict[str, Any] = {}
    own = [
        [{name: getattr(part, name) for name in part._reductions}, part._update_count]
        for part in _all_parts(metrics)
    ]
    return State(tensors, {_KEY: encode(own, _KEY, tensors)})


def go_on(metrics: Mapping[str, Metric], sums: Sequence[State]) -> None:
    """Give the metrics the states of one former rank or of several.

    Raises
    ------
    ModelError
        If there are several, and a metric's state has no rule to put them together.
    """
    if len(sums) > 1:
        for part in _all_parts(metrics):
            for name, reduction in part._reductions.items():
                if reduction is None and not isinstance(getattr(part, name), list):
                    raise ModelError(
                        f"the metric {type(part).__name__} cannot go on within an epoch with fewer "
                        "workers: nothing says how its states are put together\nGo on with as many "
                        "workers as before, or with fit(training_metrics=False)"
                    )
    _set(metrics, sums)


def _merge(metrics: Mapping[str, Metric], collective: Collective) -> None:
    """Replace every metric's state by that of all ranks together."""
    gathered = collective.all_gather(states(metrics).to_bytes())
    _set(metrics, [State.from_bytes(bytes(message)) for message in gathered])


def _set(metrics: Mapping[str, Metric], sums: Sequence[State]) -> None:
    told = [decode(state.meta[_KEY], state.tensors) for state in sums]
    for number, part in enumerate(_all_parts(metrics)):
        theirs = [one[number] for one in told]
        for name, reduction in part._reductions.items():
            values = [found[name] for found, _ in theirs]
            setattr(part, name, _reduced(values, reduction, part.device))
        part._update_count = sum(count for _, count in theirs)
        part._computed = None


def _all_parts(metrics: Mapping[str, Metric]) -> list[Metric]:
    return [part for metric in metrics.values() for part in _parts(metric)]


def _reduced(
    values: list[Any], reduction: Callable[..., torch.Tensor] | None, device: torch.device
) -> Structure:
    if len(values) == 1:
        (own,) = values
        return [one.to(device) for one in own] if isinstance(own, list) else own.to(device)
    if isinstance(values[0], list):
        together = [tensor.to(device) for one in values for tensor in one]
        return together if reduction is None or not together else [reduction(together)]
    stacked = torch.stack([value.to(device) for value in values])
    return stacked if reduction is None else reduction(stacked)


def _spread(name: str, value: Structure, found: dict[str, float]) -> None:
    """Add a metric's value to the results: one number, or one for each of its parts."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            _spread(f"{name}_{key}", one, found)
    elif isinstance(value, (list, tuple)):
        for key, one in enumerate(value):
            _spread(f"{name}_{key}", one, found)
    else:
        flat = torch.as_tensor(value).reshape(-1).tolist()
        if len(flat) == 1:
            found[name] = float(flat[0])
        else:
            found.update({f"{name}_{k}": float(one) for k, one in enumerate(flat)})
