"""A user's batches as Keras takes them: their structure is the model's, and stays."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.creators.signature import leaves
from zoo.orca.frameworks.keras.columns.inputs import class_weights
from zoo.orca.frameworks.keras.types import Tensor
from zoo.orca.worker.plugin import Created

_WAY = "Let the loader return (x, y), or (x, y, weights)"


class KerasParts:
    """Splits a loader's batches into inputs, labels and weights, as Keras does.

    Parameters
    ----------
    created : Created
    needs_labels : bool
        Whether a batch of inputs alone is of no use.
    class_weight : dict or None
        Weights of rows by the numbers of their classes.
    """

    def __init__(
        self, created: Created, *, needs_labels: bool, class_weight: Mapping[int, float] | None
    ) -> None:
        self._argument = created.argument
        self._needs_labels, self._class_weight = needs_labels, class_weight

    @property
    def weighs(self) -> bool:
        """Whether classes have weights."""
        return bool(self._class_weight)

    def __call__(self, batch: Structure) -> dict[str, Any]:
        """Return the parts, as numpy arrays."""
        if not isinstance(batch, (tuple, list)):
            batch = (batch,)
        if not 1 <= len(batch) <= 3:
            raise DataError(
                f"a batch of {self._argument} has {len(batch)} members, and Keras takes up to 3"
                f"\n{_WAY}; several inputs are a tuple or a dict in the place of x"
            )
        if len(batch) == 1 and self._needs_labels:
            raise DataError(
                f"a batch of {self._argument} has inputs and no labels, and the model is compiled "
                f"with a loss\n{_WAY}"
            )
        parts = {name: arrays(one) for name, one in zip("xyw", batch, strict=False)}
        return self.weighed(parts)

    def weighed(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Return the parts with the classes' weights in those of the rows."""
        if not self._class_weight or "y" not in parts:
            return parts
        return {**parts, "w": self.weights(parts["y"], parts.get("w"))}

    def weights(self, labels: Structure, weight: Structure = None) -> NDArray[np.float32]:
        """Return each row's weight, by its class and its own."""
        if not hasattr(labels, "ndim"):
            raise DataError(
                "class_weight is there for one output, and labels are several\n"
                "Let the loader return the rows' weights, (x, y, weights)"
            )
        rows = labels if labels.ndim > 1 else labels[:, None]
        found = class_weights(rows, self._class_weight or {})
        found = found.reshape(len(rows), -1)[:, 0]
        return found if weight is None else found * np.asarray(weight, np.float32).reshape(-1)


def arrays(value: Structure) -> Structure:
    """Return a nest of dicts and tuples of numpy arrays."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {key: arrays(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(arrays(one) for one in value)
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def zeros(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Return rows that do not count."""
    return np.full(shape, b"", object) if dtype == "object" else np.zeros(shape, dtype)


def resized(parts: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Return parts with a number of rows: the first ones, repeated if they are fewer."""

    def sized(value: Structure) -> Any:
        if isinstance(value, Mapping):
            return {key: sized(one) for key, one in value.items()}
        if isinstance(value, tuple):
            return tuple(sized(one) for one in value)
        return None if value is None else value[np.arange(rows) % len(value)]

    return {name: sized(one) for name, one in parts.items()}


def batch_of(parts: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return parts as Keras's loops take them."""
    if "w" in parts:
        return parts["x"], parts["y"], parts["w"]
    return (parts["x"], parts["y"]) if "y" in parts else (parts["x"],)


class LoaderLayout:
    """The structure of a loader's inputs, with names for their arrays.

    Parameters
    ----------
    x : nest of arrays
        Some inputs.
    """

    def __init__(self, x: Structure) -> None:
        self._x = x
        self._keys = [path for path, _ in leaves(x, "x")]

    def feature_arrays(self, x: Structure) -> dict[str, NDArray[Any]]:
        """Return inputs by name."""
        return dict(leaves(x, "x"))

    def pack_features(self, tensors: Mapping[str, Tensor]) -> Structure:
        """Return inputs in their structure."""
        return _packed(self._x, list(tensors.values()))

    def by_column(
        self, accept: Callable[[str, NDArray[Any]], NDArray[Any]], arrays: dict[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Return arrays in dtypes that a backend has."""
        return {name: accept(name, values) for name, values in arrays.items()}

    def keys(self) -> Sequence[str]:
        """Return the names of the inputs' arrays, in order."""
        return self._keys


def _packed(like: Structure, values: list[Any]) -> Structure:
    """Return values, which it uses up, in the structure of `like`."""
    if isinstance(like, Mapping):
        return {key: _packed(one, values) for key, one in like.items()}
    if isinstance(like, tuple):
        return tuple(_packed(one, values) for one in like)
    return None if like is None else values.pop(0)
