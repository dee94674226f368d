"""Passes the outputs and labels of several steps to metrics together.

A metric's `update` costs about as much as a small model's step, whatever the rows. So steps are
kept until there are some dozens, or some megabytes, of them. The outputs are copied, because a
model may write its next ones to the same memory.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from zoo.orca.errors import ModelError, OrcaError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.torch.call_errors import first_line
from zoo.orca.wire.packing import State
from zoo.orca.worker.collective.protocol import Collective

_STEPS = 64
#: Bytes of outputs on each worker. Larger ones go to the metrics at once, without a copy.
_BYTES = 4 << 20


class Gathered:
    """Updates metrics with the steps of an epoch, several at a time.

    Parameters
    ----------
    metrics : dict of str to torchmetrics.Metric
    collective : Collective
    training : bool
        Whether the steps are training steps.

    Attributes
    ----------
    is_hidden : bool
        Whether a step's outputs were not visible: on this worker or, after `results`, on any.
    """

    def __init__(
        self, metrics: Mapping[str, Any], collective: Collective, *, training: bool
    ) -> None:
        self._metrics, self._collective, self._training = metrics, collective, training
        self.is_hidden = False
        self._outputs: list[Structure] = []
        self._targets: list[Structure] = []
        self._form: Hashable = None
        self._bytes = 0

    @property
    def is_wanted(self) -> bool:
        """Whether there are metrics."""
        return bool(self._metrics)

    def add(self, output: Structure, target: Structure, rows: int) -> None:
        """Add a step with its row count."""
        output = _detached(output)
        form, nbytes = _form_of((output, target), rows), _bytes_of(output)
        if form is None or nbytes > _BYTES // 4:
            self.flush()
            self._update(output, target)
            return
        if form != self._form:
            self.flush()
            self._form = form
        self._outputs.append(_copied(output))
        self._targets.append(target)
        self._bytes += nbytes
        if len(self._outputs) >= _STEPS or self._bytes >= _BYTES:
            self.flush()

    def add_of_hooks(self, output: Structure, target: Structure, rows: int) -> None:
        """Add a step of the user's hooks, if they showed its outputs."""
        if not self._metrics or not rows:
            return
        if output is None or _rows_of(output) not in (None, rows):
            self.is_hidden = True
        else:
            self.add(output, target, rows)

    def results(self, *, may_hide: bool = False) -> dict[str, float]:
        """Return the values over all workers, and start anew; called on all ranks.

        None if hooks that may hide outputs did so in a step, because the rest has other rows'
        values.
        """
        if not self._metrics:
            return {}
        # Not at the top: it imports torchmetrics, which takes as long as PyTorch itself.
        from zoo.orca.frameworks.torch.metrics.given import results

        self.flush()
        if may_hide:
            flag = np.array([self.is_hidden], np.int64)
            self._collective.all_reduce(flag)
            self.is_hidden = bool(flag[0])
        if self.is_hidden:
            for metric in self._metrics.values():
                metric.reset()
            return {}
        return results(self._metrics, self._collective)

    def sums(self) -> State:
        """Return the metrics' states on this rank, for an epoch that goes on from here."""
        if not self._metrics:
            return State({})
        from zoo.orca.frameworks.torch.metrics.given import states

        self.flush()
        return states(self._metrics)

    def go_on(self, sums: Sequence[State]) -> None:
        """Begin an epoch with what `sums` returned before, on this rank and others."""
        if self._metrics and sums:
            from zoo.orca.frameworks.torch.metrics.given import go_on

            go_on(self._metrics, sums)

    def flush(self) -> None:
        """Pass the kept steps to the metrics."""
        if not self._outputs:
            return
        outputs, targets = _joined(self._outputs), _joined(self._targets)
        self._outputs, self._targets, self._bytes = [], [], 0
        self._update(outputs, targets)

    def _update(self, output: Structure, target: Structure) -> None:
        for name, metric in self._metrics.items():
            try:
                with torch.no_grad():
                    metric.update(output, target)
            except OrcaError:
                raise
            except Exception as error:  # a user's metric may raise anything
                where = "a step's own outputs" if self._training else "the model's outputs"
                raise ModelError(
                    f"the metric {name} cannot be computed of {where}: {first_line(error)}\n"
                    + (
                        "fit(training_metrics=False) leaves metrics to validation"
                        if self._training
                        else "pass a metric that takes these outputs and labels"
                    )
                ) from error


def _rows_of(value: Structure) -> int | None:
    """Return the length of a tensor's first axis; None if there is none, or several lengths."""
    return len(value) if isinstance(value, torch.Tensor) and value.dim() else None


def _detached(value: Structure) -> Structure:
    return _mapped(value, torch.Tensor.detach)


def _copied(value: Structure) -> Structure:
    return _mapped(value, torch.Tensor.clone)


def _mapped(value: Structure, function: Callable[[torch.Tensor], torch.Tensor]) -> Structure:
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _mapped(one, function) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_mapped(one, function) for one in value)
    return value


def _form_of(value: Structure, rows: int) -> Hashable:
    """Return what joinable steps have in common; None if something is not by rows."""
    if isinstance(value, torch.Tensor):
        if not value.dim() or value.shape[0] != rows:
            return None
        return (value.dtype, value.shape[1:])
    if isinstance(value, Mapping):
        members = [(key, _form_of(one, rows)) for key, one in value.items()]
        return None if any(form is None for _, form in members) else tuple(members)
    if isinstance(value, (list, tuple)):
        forms = [_form_of(one, rows) for one in value]
        return None if any(form is None for form in forms) else tuple(forms)
    return "none" if value is None else None


def _bytes_of(value: Structure) -> int:
    if isinstance(value, torch.Tensor):
        return int(value.nbytes)
    if isinstance(value, Mapping):
        return sum(_bytes_of(one) for one in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_bytes_of(one) for one in value)
    return 0


def _joined(values: list[Structure]) -> Structure:
    """Return the rows of several steps as one."""
    first = values[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(values)
    if isinstance(first, Mapping):
        return {key: _joined([one[key] for one in values]) for key in first}
    if isinstance(first, (list, tuple)):
        return tuple(_joined(list(members)) for members in zip(*values, strict=True))
    return first
