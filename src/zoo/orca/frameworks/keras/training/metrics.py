"""Logs over all workers: metrics from their states, raw values by rows, averaged statistics."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import ModelError, StateError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.models import KerasModel, value_of
from zoo.orca.frameworks.keras.types import KerasMetric, Variable
from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.worker.collective.protocol import Collective


def sum_arrays(collective: Collective, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return the sums over ranks: floats as float64, integers as int64; called on all ranks."""
    results: list[NDArray[Any]] = [np.empty(0)] * len(arrays)
    for wide, is_whole in ((np.float64, False), (np.int64, True)):
        chosen = [k for k, array in enumerate(arrays) if (array.dtype.kind in "iub") == is_whole]
        if not chosen:
            continue
        flat = np.concatenate([arrays[k].reshape(-1).astype(wide) for k in chosen])
        collective.all_reduce(flat)
        ends = np.cumsum([arrays[k].size for k in chosen])
        for k, part in zip(chosen, np.split(flat, ends[:-1]), strict=True):
            results[k] = part.reshape(arrays[k].shape).astype(arrays[k].dtype)
    return results


class Logs:
    """Makes the logs of one model global; every method is called on all ranks.

    Parameters
    ----------
    made : KerasModel
    collective : Collective
    original : callable
        Keras's own function from a step's logs to an epoch's.
    """

    def __init__(
        self, made: KerasModel, collective: Collective, original: Callable[[Any], Any]
    ) -> None:
        self._made, self._collective, self._original = made, collective, original

    def of_epoch(self, logs: Structure, share: float) -> Any:
        """Return an epoch's logs; metrics stay merged, because they are reset next.

        Parameters
        ----------
        logs : dict
            The last step's logs, as Keras passes them.
        share : float
            This rank's share of that step's rows.
        """
        self._merge()
        return self._result(logs, share)

    def of_step(self, logs: Mapping[str, Any], share: float) -> dict[str, Any]:
        """Return the logs up to this step; metrics keep their own states."""
        self._made.keras.sync(self._made.model)
        with kept(self._made.metric_variables):
            self._merge()
            return dict(self._result(dict(logs), share))

    def sums(self) -> State:
        """Return the metrics' states on this rank, for an epoch that goes on from here."""
        self._made.keras.sync(self._made.model)
        return State({str(k): value_of(v) for k, v in enumerate(self._made.metric_variables())})

    def go_on(self, sums: Sequence[State]) -> None:
        """Add to the metrics what `sums` returned before, on this rank or on several."""
        made = self._made
        made.keras.sync(made.model)
        variables = made.metric_variables()
        merged = [m for m in _leaves(made.model.metrics) if made.keras.own_merge(m)]
        skipped = {id(variable) for metric in merged for variable in metric.variables}
        for part in sums:
            if len(part.tensors) != len(variables):
                raise StateError(
                    "the checkpoint has other metrics than the model\n"
                    "Compile the model as the one that was saved"
                )
            before = dict(zip(map(id, variables), part.tensors.values(), strict=True))
            for variable in variables:
                if id(variable) not in skipped:
                    variable.assign(before[id(variable)] + value_of(variable))
            for metric in merged:
                clone = made.keras.clone_metric(metric)
                for variable, own in zip(clone.variables, metric.variables, strict=True):
                    variable.assign(before[id(own)])
                metric.merge_state([clone])

    def _merge(self) -> None:
        """Replace every metric's state by that of all ranks together."""
        own = [m for m in _leaves(self._made.model.metrics) if self._made.keras.own_merge(m)]
        skipped = {id(variable) for metric in own for variable in metric.variables}
        variables = [v for v in self._made.metric_variables() if id(v) not in skipped]
        sums = sum_arrays(self._collective, [value_of(variable) for variable in variables])
        for variable, value in zip(variables, sums, strict=True):
            variable.assign(value)
        for metric in own:
            self._merge_by_itself(metric)

    def _merge_by_itself(self, metric: KerasMetric) -> None:
        """Merge a metric that overrides `merge_state`, in rank order on all ranks."""
        values = {str(k): value_of(v) for k, v in enumerate(metric.variables)}
        states = self._collective.all_gather(State(values).to_bytes())
        clones = []
        for rank, state in enumerate(states):
            target = metric if rank == 0 else self._made.keras.clone_metric(metric)
            tensors = State.from_bytes(bytes(state)).tensors
            for variable, value in zip(target.variables, tensors.values(), strict=True):
                variable.assign(value)
            clones.append(target)
        metric.merge_state(clones[1:])

    def _result(self, logs: Structure, share: float) -> Any:
        found = self._original(logs)
        known = self._made.model.get_metrics_result()
        if not isinstance(logs, dict) or set(logs) == set(known):
            return found
        # From a user's own step: some values are metrics, the others belong to this rank's last
        # batch.
        raw = [name for name in logs if name not in known]
        own = [np.asarray(self._made.keras.to_numpy(logs[name]), np.float64) for name in raw]
        weighted = [value * share if share else np.zeros_like(value) for value in own]
        means = dict(zip(raw, sum_arrays(self._collective, weighted), strict=True))
        return {name: means[name] if name in means else known[name] for name in logs}


def _leaves(metrics: Sequence[KerasMetric]) -> list[KerasMetric]:
    return [metric for metric in metrics if metric.variables]


@contextmanager
def kept(variables: Callable[[], list[Variable]]) -> Iterator[None]:
    """Undo changes to `variables` in the block; new variables become zero."""
    before = [(variable, value_of(variable).copy()) for variable in variables()]
    yield
    restore(before, variables())


def restore(before: list[tuple[Variable, NDArray[Any]]], now: Sequence[Variable]) -> None:
    """Restore the variables' values; new variables become zero."""
    known = {id(variable) for variable, _ in before}
    for variable, value in before:
        variable.assign(value)
    for variable in now:
        if id(variable) not in known:
            variable.assign(np.zeros_like(value_of(variable)))


class Statistics:
    """Keeps moving statistics (of batch normalisation) equal on all ranks, by averaging.

    Only those that changed since the last time on any rank are averaged, so a frozen backbone costs
    a checksum. Made and called on all ranks, while the ranks' variables are equal.
    """

    def __init__(self, made: KerasModel, collective: Collective, plan: Plan) -> None:
        self._made, self._collective, self._plan = made, collective, plan
        # A callback may unfreeze some, which then change alike on all ranks.
        self._variables = made.statistics()
        self._seen = self._marks()

    def average(self) -> None:
        """Replace changed statistics by their mean, weighted by the ranks' rows."""
        marks = self._marks()
        known = {id(variable) for variable in self._variables}
        if any(id(variable) not in known for variable in self._made.statistics()):
            raise ModelError("the model got new variables while it was trained")
        changed = np.array([a != b for a, b in zip(marks, self._seen, strict=True)], np.int64)
        if not len(changed):
            return
        self._collective.all_reduce(changed)
        moved = [v for v, count in zip(self._variables, changed, strict=True) if count]
        if moved:
            own = [value_of(variable) for variable in moved]
            counts = self._plan.counts  # of a user's loaders, those so far
            if weight := counts[self._collective.rank] / sum(counts):
                scaled = [value.astype(np.float64) * weight for value in own]
            else:
                scaled = [np.zeros(value.shape) for value in own]
            for variable, value in zip(moved, sum_arrays(self._collective, scaled), strict=True):
                variable.assign(value.astype(value_of(variable).dtype))
        self._seen = self._marks()

    def _marks(self) -> list[int]:
        return [zlib.crc32(value_of(v).tobytes()) for v in self._variables]
