"""An estimator as a table, for notebooks: what it is, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zoo.orca.learn.planning.tables import size
from zoo.orca.learn.tracking.packaged import EstimatorParts
from zoo.orca.learn.tracking.shown import table
from zoo.orca.wire.features import ColumnSpec

_FRAMEWORKS = {"tf2": "TensorFlow", "keras": "Keras 3", "torch": "PyTorch"}


class Tabled:
    """Adds a table to the base estimator; making it asks neither Spark nor a framework."""

    def _repr_html_(self: EstimatorParts) -> str:
        rows = [(name, [text]) for name, text in _told(self) if text]
        return table(type(self).__qualname__, [], rows)


def _told(est: EstimatorParts) -> Iterator[tuple[str, str]]:
    """Yield what there is to say, with its name."""
    yield "framework", _FRAMEWORKS.get(est._model.framework, est._model.framework)
    options = est._options
    told = f"{options.workers_per_node} on each node"
    yield "workers", told if options.num_workers is None else str(options.num_workers)
    seen, state = est._seen_columns, est._state
    if seen is not None:
        yield "features", _columns(seen.features)
        yield "labels", _columns(seen.labels)
    yield "outputs", ", ".join(_typed(o.name, o.dtype, o.row_shape) for o in est._outputs)
    if state is None:
        yield "trained", "not yet"
        return
    epochs, steps = state.meta.get("epoch", 0), state.meta.get("step", 0)
    yield "trained", f"{epochs:,} epochs, {steps:,} steps"
    weights = [t for name, t in state.tensors.items() if name.startswith("weights/")]
    yield "weights", f"{sum(tensor.size for tensor in weights):,} numbers"
    yield "state", size(state.nbytes)


def _columns(columns: Sequence[ColumnSpec]) -> str:
    return ", ".join(_typed(one.name, one.dtype, one.shape) for one in columns)


def _typed(name: str, dtype: str, shape: Sequence[int | None]) -> str:
    lengths = ", ".join("any" if length is None else str(length) for length in shape)
    return f"{name}: {dtype}" + (f" ({lengths})" if lengths else "")
