"""Columns as a Keras model takes them: their shapes and their structure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.input_shapes import (
    Input,
    Shape,
    check_input,
    row_shape,
    way_to_inputs,
)
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.columns.names import (
    Names,
    by_output,
    labels_by_name,
    matched,
    similar,
    weights_by_name,
)
from zoo.orca.frameworks.keras.types import Tensor
from zoo.orca.wire.features import ColumnSpec, FeatureSpec

_WEIGHT = "\0weight"


@dataclass(frozen=True, kw_only=True)
class Role:
    """One column in its role: the array's name, the column's, and the shape of one row."""

    key: str
    column: str
    shape: Shape


class InputLayout:
    """How columns become the (inputs, labels, weights) of a batch.

    Parameters
    ----------
    spec : FeatureSpec
    inputs : sequence of Input or None
        The inputs of a functional model, in its order; None for any other model.
    keys : sequence of str or None
        The keys of the model's inputs if it takes a dict, in the same order.
    outputs : Names or None
        The outputs that labels belong to, if the model declares them; None: labels are passed as
        given.
    nested : callable or None
        Puts the inputs, in order, into the structure of a model with nested dicts or lists.

    Raises
    ------
    ModelError
        If number, names, shapes or kinds of columns do not fit the inputs, or labels do not fit the
        outputs.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        inputs: Sequence[Input] | None,
        keys: Sequence[str] | None,
        outputs: Names | None = None,
        nested: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        self._spec, self._inputs, self._nested = spec, inputs, nested
        columns = list(spec.features)
        self._keys = spec.feature_keys
        self._open: dict[str, tuple[ColumnSpec, Input]] = {}
        if inputs is not None:
            has_no_order = keys is not None or nested is not None
            names = Names(names=tuple(keys or (one.name for one in inputs)), keyed=has_no_order)
            columns = _in_order(spec, names, inputs[0].shape[1:])
            self._keys = tuple(keys) if keys is not None else None
            for column, expected in zip(columns, inputs, strict=True):
                check_input(column, expected)
            shapes = [row_shape(*pair) for pair in zip(columns, inputs, strict=True)]
            # Only rows tell whether an unknown length is the required one.
            self._open = {
                f"x{k}": (column, expected)
                for k, (column, expected) in enumerate(zip(columns, inputs, strict=True))
                if None in column.shape and len(shapes[k]) > len(column.shape)
            }
        else:
            shapes = [column.shape or (1,) for column in columns]
        self._features = [
            Role(key=f"x{k}", column=column.name, shape=shape)
            for k, (column, shape) in enumerate(zip(columns, shapes, strict=True))
        ]
        self._outputs = outputs
        self._weights = weights_by_name(spec, outputs)
        labels, self._label_keys = labels_by_name(spec, outputs)
        self._labels = [
            Role(key=f"y{k}", column=column.name, shape=column.shape or (1,))
            for k, column in enumerate(labels)
        ]

    def feature_arrays(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the feature columns in the shapes of the model's inputs."""
        for column, expected in self._open.values():
            values = columns[column.name]
            check_input(replace(column, shape=values.shape[1:]), expected)
        return {part.key: _shaped(columns[part.column], part.shape) for part in self._features}

    def by_column(
        self,
        accept: Callable[[str, NDArray[Any]], NDArray[Any]],
        arrays: Mapping[str, NDArray[Any]],
    ) -> dict[str, NDArray[Any]]:
        """Return arrays of `feature_arrays` as `accept` returns them, told the column's name."""
        columns = {part.key: part.column for part in self._features}
        return {key: accept(columns[key], values) for key, values in arrays.items()}

    def arrays(
        self, columns: Mapping[str, NDArray[Any]], class_weight: Mapping[int, float] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return all columns in their final shapes, with class weights as row weights."""
        found = self.feature_arrays(columns)
        found.update({p.key: _shaped(columns[p.column], p.shape) for p in self._labels})
        weight = None
        if isinstance(self._weights, str):
            weight = columns[self._weights].astype(np.float32, copy=False)
        elif self._weights:
            some = next(iter(columns.values()))
            for output, column in self._weights.items():
                known = np.ones(len(some)) if column is None else columns[column]
                found[f"{_WEIGHT}{output}"] = known.astype(np.float32, copy=False)
        if class_weight:
            self.only_label("class_weight")
            if isinstance(self._weights, dict):
                raise ModelError(
                    "class_weight is for one output, and sample_weight_col names several\n"
                    "Give one of them: weights of classes can be a column of weights, too"
                )
            of_class = class_weights(found[self._labels[0].key], class_weight)
            weight = of_class if weight is None else _times(of_class, weight)
        if weight is not None:
            found[_WEIGHT] = weight
        return found

    @property
    def output_of_lone_label(self) -> str | None:
        """The output of a single label column, if Keras must be told."""
        alone = len(self._labels) == 1 and self._label_keys is None
        return self._outputs.only if alone and self._outputs is not None else None

    def only_label(self, argument: str) -> str:
        """Return the one label column, which `argument` needs.

        Raises
        ------
        ModelError
            If there are several, or none.
        """
        columns = [part.column for part in self._labels]
        if len(columns) != 1:
            raise ModelError(
                f"{argument} needs one label column, and there are {len(columns)}: {columns}\n"
                "Name one in label_cols"
            )
        return columns[0]

    def labels_of(self, outputs: int) -> list[str | None]:
        """Return each output's label column; None: it has none, or it is unknown."""
        columns = [part.column for part in self._labels]
        if self._label_keys is not None:
            by_key = dict(zip(self._label_keys, columns, strict=True))
            return [by_key.get(name) for name in self._names(outputs)]
        if len(columns) == 1:
            return [columns[0]] * outputs
        return [*columns] if len(columns) == outputs else [None] * outputs

    def label_length(self, column: str) -> int | None:
        """Return the last axis of a label's rows; None if its length is unknown."""
        return next(part.shape[-1] for part in self._labels if part.column == column)

    def by_output(self, structure: Structure, outputs: int) -> list[Any]:
        """Split an argument of `Model.compile` into one part for each output."""
        return by_output(structure, self._names(outputs))

    def _names(self, outputs: int) -> Sequence[str]:
        known = self._outputs.names if self._outputs is not None else ()
        return known if len(known) == outputs else [""] * outputs

    def pack_features(self, tensors: Mapping[str, Tensor]) -> Structure:
        """Return the inputs of a batch in the structure of the model's call."""
        values = [tensors[part.key] for part in self._features]
        return _structure(values, self._keys) if self._nested is None else self._nested(values)

    def pack(self, tensors: Mapping[str, Tensor]) -> Structure:
        """Return a batch in the structure of Keras's loops."""
        data = (self.pack_features(tensors),)
        if not self._labels:
            return data
        labels = [tensors[part.key] for part in self._labels]
        weight: tuple[Any, ...] = (tensors[_WEIGHT],) if _WEIGHT in tensors else ()
        if not weight and self._weights:
            weights = {output: tensors[f"{_WEIGHT}{output}"] for output in self._weights}
            in_a_list = self._outputs is not None and not self._outputs.keyed
            weight = (tuple(weights.values()) if in_a_list else weights,)
        return (*data, _structure(labels, self._label_keys), *weight)

    def placeholder(self) -> dict[str, NDArray[Any]] | None:
        """Return two placeholder rows for the inputs.

        None while a column's length is unknown, also to the model.
        """
        rows = {}
        for place, (part, column) in enumerate(zip(self._features, self._columns(), strict=True)):
            if None in column.shape and self._inputs is None:
                return None
            wanted = self._inputs[place].shape[1:] if self._inputs is not None else ()
            lengths = _lengths(column.shape, wanted)
            if part.key in self._open:
                lengths = iter([prod(length or 1 for length in part.shape)])
            rows[part.column] = _nothing(column, (2, *lengths))
        return self.feature_arrays(rows)

    def _columns(self) -> list[ColumnSpec]:
        by_name = {column.name: column for column in self._spec.features}
        return [by_name[part.column] for part in self._features]

    def signature(self) -> list[tuple[Shape, str]]:
        """Return shape and dtype of the inputs, in order, for batches of any size."""
        return [
            ((None, *part.shape), column.dtype)
            for part, column in zip(self._features, self._columns(), strict=True)
        ]

    def keys(self) -> list[str]:
        """Return the names of the inputs' arrays, in order."""
        return [part.key for part in self._features]


def _lengths(shape: Shape, wanted: Shape) -> Iterator[int]:
    """Yield the lengths of a column's axes; the model's length, or 1, replaces an unknown one."""
    for axis, length in enumerate(shape):
        known = wanted[axis] if length is None and axis < len(wanted) else length
        yield 1 if known is None else known


def _nothing(column: ColumnSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    if column.dtype == "string":
        return np.full(shape, b"", object)
    return np.zeros(shape, column.dtype)


def _structure(values: list[Tensor], keys: Sequence[str] | None) -> Structure:
    if keys is not None:
        return dict(zip(keys, values, strict=True))
    return values[0] if len(values) == 1 else tuple(values)


def _shaped(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Give rows of one number an axis of length 1, and flat rows all axes of the input."""
    if values.ndim == 1 + len(shape):
        return values
    if values.ndim == 1:
        return values[:, None]
    return values.reshape(len(values), *shape)


def _in_order(spec: FeatureSpec, inputs: Names, row: Shape) -> list[ColumnSpec]:
    """Return the feature columns in the order of the inputs; `row` is the first one's shape."""
    given = [column.name for column in spec.features]
    names = list(inputs.names)
    if spec.feature_keys is not None:
        by_key = dict(zip(spec.feature_keys, spec.features, strict=True))
        if set(by_key) != set(names):
            pairs = similar(list(by_key), names)
            raise ModelError(
                f"feature_cols names the inputs {sorted(spec.feature_keys)}, and the model's "
                f"inputs are {sorted(names)}\n"
                f"Name each of these: "
                f"feature_cols={ {name: by_key[key].name for name, key in pairs.items()} }"
            )
        return [by_key[name] for name in names]
    if len(given) != len(names):
        raise ModelError(
            f"the model has {len(names)} {'input' if len(names) == 1 else 'inputs'} {names}, and "
            f"feature_cols has {len(given)} {'column' if len(given) == 1 else 'columns'} {given}\n"
            + way_to_inputs(spec.features, len(names), row)
        )
    order = matched("feature_cols", given, inputs, "input")
    return [spec.features[place] for place in order]


def class_weights(labels: NDArray[Any], class_weight: Mapping[int, float]) -> NDArray[np.float32]:
    """Return each row's weight by its class; unnamed classes weigh 1."""
    classes = labels.argmax(-1) if labels.shape[-1] > 1 else np.rint(labels[..., 0])
    classes = classes.astype(np.int64)
    weights = np.ones(classes.shape, np.float32)
    for label, weight in class_weight.items():
        weights[classes == label] = weight
    return weights


def _times(of_class: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    return of_class * weight.reshape(weight.shape + (1,) * (of_class.ndim - weight.ndim))
