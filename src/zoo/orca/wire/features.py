"""The columns of a job, as both sides know them: name, dtype and the shape of one row."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

#: The dtypes a column may have on the workers. "string" is a column of UTF-8 text or raw bytes.
DTYPES = ("bool", "int32", "int64", "float32", "string")


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column.

    Parameters
    ----------
    name : str
        The column's name in the user's DataFrame.
    dtype : str
        One of `DTYPES`.
    shape : tuple of int or None
        The shape of one row: ``()`` for a scalar, ``(k,)`` for an array. A length is None while it
        is not known, which is until rows have been seen.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """The columns of a job by their roles.

    Parameters
    ----------
    features, labels : tuple of ColumnSpec
        In the order the user gave. `labels` is empty for predict.
    feature_keys, label_keys : tuple of str or None
        The model's input (output) names when the user mapped columns by name, else None: by
        position.
    weight : ColumnSpec or None
        The column of sample weights.
    output_weights : tuple of (str, ColumnSpec)
        Instead of `weight`: the columns of the weights that single outputs have, by their names.
    """

    features: tuple[ColumnSpec, ...]
    labels: tuple[ColumnSpec, ...] = ()
    feature_keys: tuple[str, ...] | None = None
    label_keys: tuple[str, ...] | None = None
    weight: ColumnSpec | None = field(default=None)
    output_weights: tuple[tuple[str, ColumnSpec], ...] = ()

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """All columns, each once, features first: the order in which they travel."""
        found: dict[str, ColumnSpec] = {}
        weights = [self.weight] if self.weight else []
        weights += [column for _, column in self.output_weights]
        for column in (*self.features, *self.labels, *weights):
            found.setdefault(column.name, column)
        return tuple(found.values())


def fill_shapes(spec: FeatureSpec, shapes: Mapping[str, tuple[int | None, ...]]) -> FeatureSpec:
    """Return `spec` with the shapes that the rows turned out to have, by column name."""

    def filled(column: ColumnSpec) -> ColumnSpec:
        return replace(column, shape=tuple(shapes.get(column.name, column.shape)))

    return replace(
        spec,
        features=tuple(map(filled, spec.features)),
        labels=tuple(map(filled, spec.labels)),
        weight=filled(spec.weight) if spec.weight else None,
    )
