"""Checks before the first step, with all ranks, that labels fit the model's losses.

Keras checks little of it, and each backend checks differently: on JAX, a class that does not exist
trains without an error.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import DataError, ModelError
from zoo.orca.frameworks.common.class_labels import check_class_labels
from zoo.orca.frameworks.keras.columns.inputs import InputLayout
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.wire.outputs import Shape
from zoo.orca.worker.plugin import Rows, World
from zoo.orca.worker.rows.transform import TransformedColumns, check_each

_SPARSE = ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")
_ONE_HOT = ("categorical_crossentropy", "CategoricalCrossentropy")


@dataclass(frozen=True, kw_only=True)
class Classes:
    """A label column of class numbers.

    Parameters
    ----------
    column : str
    count : int
        The number of classes.
    ignored : int or None
        A number that the loss ignores.
    """

    column: str
    count: int
    ignored: int | None


class Labels:
    """The labels of one job, as its model's losses take them.

    Parameters
    ----------
    made : KerasModel
        A built model.
    layout : InputLayout
    """

    def __init__(self, made: KerasModel, layout: InputLayout) -> None:
        self._made, self._layout = made, layout

    @functools.cached_property
    def _shapes(self) -> list[Shape | None]:
        """The shape of each output, as declared by the model or for the rows that built it."""
        return self._made.output_shapes()

    @functools.cached_property
    def _widths(self) -> list[int | None]:
        """The last axis of each output."""
        return [s[-1] if s is not None and len(s) > 1 else None for s in self._shapes]

    def check_rows(self) -> None:
        """Refuse outputs without one entry per row, if a Keras loss takes them.

        Keras would compare a mean over the batch with the label of every row. Such a loss depends
        on how rows are divided into batches and workers.

        Raises
        ------
        ModelError
            The message has the shape and the label.
        """
        made = self._made
        losses = made.keras.compiled_losses(made.model)
        if losses is None or made.keras.has_own_step(made.model):
            return
        outputs = len(self._shapes)
        # A Sequential model without an Input declares its shapes once it is built.
        rows = None if made.is_static else made.built_with
        for loss, column, shape in zip(
            self._layout.by_output(losses, outputs),
            self._layout.labels_of(outputs),
            self._shapes,
            strict=True,
        ):
            # Only the number of axes that a model declares is reliable: it may fix the batch size.
            lost = shape == () or (rows is not None and shape is not None and shape[0] != rows)
            if lost and column is not None and _name_of_keras(loss):
                raise ModelError(
                    f"the model's output is of shape {shape} for {rows or 'any number of'} rows, "
                    f"and {_name_of_keras(loss)} compares each row's with its label {column!r}\n"
                    "Return a value for each row, (batch, ...), or give compile a loss of your own"
                )

    def classes(self) -> list[Classes]:
        """Return the label columns of losses that take class numbers."""
        losses = self._made.keras.compiled_losses(self._made.model)
        if losses is None or self._made.keras.has_own_step(self._made.model):
            return []
        if not any(_is_sparse(one) for one in self._made.keras.loss_objects(self._made.model)):
            return []
        widths = self._widths
        labels = self._layout.labels_of(len(widths))
        found = []
        for loss, column, width in zip(
            self._layout.by_output(losses, len(widths)), labels, widths, strict=True
        ):
            if _is_sparse(loss) and column is not None and width is not None:
                found.append(Classes(column=column, count=width, ignored=_ignored(loss)))
        return found

    def check(self, sets: Mapping[str, Rows], world: World) -> None:
        """Refuse labels that are not class numbers; called on all ranks.

        Parameters
        ----------
        sets : dict of str to Rows
            By the text after a column's name in an error.
        world : World

        Raises
        ------
        DataError
            The error is the same on every rank.
        """
        self._refuse_classes_for_one_hot()
        for one in self.classes():
            for data, rows in sets.items():
                values = rows.columns[one.column]
                if values.dtype == object:  # by the column's type, so on all ranks
                    raise DataError(
                        f"column {one.column!r}{data} holds strings, and the loss takes numbers of "
                        f"classes\nNumber them: StringIndexer(inputCol={one.column!r}, "
                        f"outputCol={one.column + '_index'!r}).fit(df).transform(df), of "
                        "pyspark.ml.feature"
                    )
                check_class_labels(
                    one.column,
                    values,
                    one.count,
                    ignored=one.ignored,
                    collective=world.collective,
                    data=data,
                )
                check = functools.partial(
                    check_class_labels,
                    one.column,
                    classes=one.count,
                    ignored=one.ignored,
                    data=data,
                )
                check_each(rows.columns, one.column, check)

    def _refuse_classes_for_one_hot(self) -> None:
        """Refuse class numbers for a loss that takes one number per class."""
        losses = self._made.keras.compiled_losses(self._made.model)
        if losses is None or self._made.keras.has_own_step(self._made.model):
            return
        objects = self._made.keras.loss_objects(self._made.model)
        if not any(_is_one_hot(one) for one in objects):
            return
        widths = self._widths
        columns = self._layout.labels_of(len(widths))
        found = self._layout.by_output(losses, len(widths))
        for loss, column, width in zip(found, columns, widths, strict=True):
            if not _is_one_hot(loss) or column is None or width is None or width < 2:
                continue
            if self._layout.label_length(column) == 1:
                raise ModelError(
                    f"the loss categorical_crossentropy takes {width} numbers a row, and label "
                    f"{column!r} is one\n"
                    "For numbers of classes compile with loss='sparse_categorical_crossentropy'"
                )

    def check_weights(self, weights: Mapping[int, float], rows: Rows, world: World) -> None:
        """Refuse weights for classes that do not exist; called on all ranks.

        Raises
        ------
        ModelError
            The message lists the classes.
        """
        column = self._layout.only_label("class_weight")
        values = rows.columns[column]
        one_hot = values.ndim > 1 and values.shape[-1] > 1
        width = values.shape[-1] if one_hot else self._width_of(column)
        there: Sequence[int]
        if width is not None and width > 1:
            there, named = range(width), f"0…{width - 1}"
        else:
            there = self._shown(weights, values, world)
            if isinstance(rows.columns, TransformedColumns):
                there = [*there, *weights]  # which classes come out is seen step by step
            named = f"0, 1 and those in column {column!r}"
        unknown = [key for key in weights if key not in there]
        if unknown:
            raise ModelError(
                f"class_weight has the classes {unknown}, and there are {named}\n"
                f"Leave them out: class_weight={ {k: w for k, w in weights.items() if k in there} }"
            )

    def _width_of(self, column: str) -> int | None:
        """Return the most numbers a row of the outputs that a label is for; None: unknown."""
        outputs = len(self._widths)
        labels = self._layout.labels_of(outputs)
        losses = self._made.keras.compiled_losses(self._made.model)
        parts = self._layout.by_output(losses, outputs)
        # Without a loss an output has no classes; where no loss can be told apart, all count.
        lossy = [loss is not None for loss in parts]
        widths = [
            width
            for width, label, has_loss in zip(self._widths, labels, lossy, strict=True)
            if label == column and (has_loss or not any(lossy))
        ]
        known = [width for width in widths if width is not None]
        return max(known) if known and len(known) == len(widths) else None

    def _shown(
        self, weights: Mapping[int, float], values: NDArray[Any], world: World
    ) -> Sequence[int]:
        """Return the classes of `weights` that any rank's labels show, and those of two."""
        seen = np.array([bool((values == key).any()) for key in weights], np.int64)
        world.collective.all_reduce(seen)
        return [0, 1, *(key for key, count in zip(weights, seen, strict=True) if count)]


def _is_sparse(loss: object) -> bool:
    """Whether a loss takes class numbers."""
    return _name_of_keras(loss) in _SPARSE


def _is_one_hot(loss: object) -> bool:
    """Whether a loss takes one number per class."""
    return _name_of_keras(loss) in _ONE_HOT


def _name_of_keras(loss: object) -> str:
    """Return the name of a Keras loss; empty for a user's own."""
    function = getattr(loss, "fn", loss)
    if isinstance(function, str):
        return function
    module = getattr(function, "__module__", None) or ""
    is_own = module.startswith(("keras.", "tf_keras."))
    return str(getattr(function, "__name__", type(function).__name__)) if is_own else ""


def _ignored(loss: object) -> int | None:
    found = getattr(loss, "_fn_kwargs", {}).get("ignore_class")
    return None if found is None else int(found)
