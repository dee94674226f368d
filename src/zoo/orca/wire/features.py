"""The columns of a job for driver and workers: name, dtype and the shape of one row."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from zoo.orca.wire.padding import Padding

#: The dtypes a column may have on the workers. "string" is a column of UTF-8 text or raw bytes.
DTYPES = ("bool", "int32", "int64", "float32", "string")

#: Fields that states and records of earlier releases do not have.
_RARE = ("padding", "mask_of")

#: What the list of a dense Vector begins with, as no size does.
IS_DENSE = -1
#: The largest size of a Vector up to which a float tells all places.
EXACT = 1 << 24

#: How Spark turns bytes into numbers, and arrays of bytes.
_DECODE = (
    "decode = F.udf(lambda data: [byte / 255 for byte in data], 'array<float>')",
    "decode = F.udf(lambda rows: [[byte / 255 for byte in data] for data in rows], "
    "'array<array<float>>')",
)


def quoted(name: str) -> str:
    """Return a column's name for an expression of Spark's, in backticks if it needs them."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else backticked(name)


def flattened(name: str, depth: int) -> str:
    """Return the code that makes one array of a column's arrays, nested `depth` deep."""
    value = repr(quoted(name))
    for _ in range(depth - 1):
        value = f"F.flatten({value})"
    return f"df = df.withColumn({name!r}, {value})"


def backticked(name: str) -> str:
    """Return a column's name in backticks, whatever it is."""
    return "`" + name.replace("`", "``") + "`"


def packed_name(index: int) -> str:
    """Return the name of the column at a position of the rows, if it holds packed Vectors.

    Each is one list of floats: of a sparse Vector its size, the places of its values, and these
    values; of a dense one `IS_DENSE` and its values. A list goes through Spark number by number,
    and that is most of the time that rows take.
    """
    return f"vector{index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSpec:
    """One column, or a stack of several that is one input.

    Parameters
    ----------
    name : str
        The column's name in the user's DataFrame; for a stack, its columns' names in brackets.
    dtype : str
        One of `DTYPES`.
    shape : tuple of int or None
        The shape of one row: ``()`` for a scalar, ``(k,)`` for an array. A length is None until
        rows have been seen.
    parts : tuple of str
        The columns of a stack, in the order of concatenation; empty for a single column.
    binary : bool
        Whether it holds raw bytes. Text travels the same way, so only messages use this.
    arrays : tuple of str
        The columns of a stack that are arrays, which may hold nulls; for messages, too.
    padding : Padding or None
        How arrays of unequal length get one shape; None: they must have it.
    mask_of : str
        The column whose values this input tells from its padding. Such a column is made on the
        workers.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] = ()
    parts: tuple[str, ...] = ()
    binary: bool = field(default=False, compare=False)
    arrays: tuple[str, ...] = field(default=(), compare=False)
    padding: Padding | None = None
    mask_of: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns of the user's DataFrame that make it."""
        return self.parts or (self.name,)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; those that most columns lack, only where they are."""
        return {name: value for name, value in asdict(self).items() if name not in _RARE or value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ColumnSpec":
        """Return the column that `to_json` described."""
        shape, parts = tuple(values["shape"]), tuple(values["parts"])
        padding = values.get("padding")
        return cls(
            name=values["name"],
            dtype=values["dtype"],
            shape=shape,
            parts=parts,
            binary=values.get("binary", False),
            arrays=tuple(values.get("arrays", ())),
            padding=Padding(**padding) if padding else None,
            mask_of=values.get("mask_of", ""),
        )

    def refused(self, taker: str) -> str:
        """Say that `taker` takes no strings, or no bytes, and name the way out."""
        if self.binary:
            return (
                f"column {self.name!r} is binary: bytes, as a file has them, and {taker}\n"
                f"{self._way_to_decode()}"
            )
        return f"column {self.name!r} holds strings, and {taker}\n{self._way_to_index()}"

    def _way_to_decode(self) -> str:
        depth = bool(self.arrays) if self.parts else len(self.shape)
        if depth >= len(_DECODE) or (self.parts and len(self.arrays) not in (0, len(self.parts))):
            return "Decode its bytes into numbers first, or leave it out"
        change = "; ".join(
            f"df = df.withColumn({name!r}, decode({quoted(name)!r}))" for name in self.sources
        )
        return (
            f"Decode it: {_DECODE[depth]}; {change} makes numbers of raw pixels; "
            "for PNG or JPEG, a batch_transform of the estimator, with PIL.Image"
        )

    def _way_to_index(self) -> str:
        start = "Turn them into numbers first"
        names = list(self.sources)
        if self.arrays or (self.shape and not self.parts):
            if len(names) > 1 or len(self.shape) > 1:
                return f"{start}, or leave the column out"
            given = f"inputCol={names[0]!r}, outputCol={names[0] + '_counts'!r}"
            return f"{start}, for example with pyspark.ml.feature.CountVectorizer({given})"
        given = f"inputCol={names[0]!r}, outputCol={names[0] + '_index'!r}"
        if len(names) > 1:
            given = f"inputCols={names}, outputCols={[name + '_index' for name in names]}"
        return f"{start}, for example with pyspark.ml.feature.StringIndexer({given})"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """The columns of a job by their roles.

    Parameters
    ----------
    features, labels : tuple of ColumnSpec
        In the user's order. `labels` is empty for predict.
    feature_keys, label_keys : tuple of str or None
        The model's input (output) names if the user mapped columns by name; None means by position.
    weight : ColumnSpec or None
        The column of sample weights.
    output_weights : tuple of (str, ColumnSpec)
        Used instead of `weight`: output names and their columns of weights.
    """

    features: tuple[ColumnSpec, ...]
    labels: tuple[ColumnSpec, ...] = ()
    feature_keys: tuple[str, ...] | None = None
    label_keys: tuple[str, ...] | None = None
    weight: ColumnSpec | None = field(default=None)
    output_weights: tuple[tuple[str, ColumnSpec], ...] = ()

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """All columns of rows, each once, in the order in which they travel: features first."""
        found: dict[str, ColumnSpec] = {}
        weights = [self.weight] if self.weight else []
        weights += [column for _, column in self.output_weights]
        for column in (*self.features, *self.labels, *weights):
            if not column.mask_of:
                found.setdefault(column.name, column)
        return tuple(found.values())

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of all arrays that the workers make: features in order, labels, weights."""
        return tuple({one.name: None for one in (*self.features, *self.columns)})

    @property
    def masks(self) -> tuple[ColumnSpec, ...]:
        """The features that the workers make of padded columns."""
        return tuple(column for column in self.features if column.mask_of)

    def mask_name(self, column: ColumnSpec) -> str:
        """Return the name of a column's mask; empty if it has none."""
        return next((mask.name for mask in self.masks if mask.mask_of == column.name), "")

    def to_json(self) -> dict[str, Any]:
        """Return features and labels as JSON values; weights belong to one call."""
        return {
            "features": [column.to_json() for column in self.features],
            "labels": [column.to_json() for column in self.labels],
            "feature_keys": self.feature_keys,
            "label_keys": self.label_keys,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "FeatureSpec":
        """Return the columns that `to_json` described."""
        features, labels = (
            tuple(ColumnSpec.from_json(one) for one in values[role])
            for role in ("features", "labels")
        )
        feature_keys, label_keys = (
            None if values[role] is None else tuple(values[role])
            for role in ("feature_keys", "label_keys")
        )
        return cls(
            features=features, labels=labels, feature_keys=feature_keys, label_keys=label_keys
        )


def fill_shapes(spec: FeatureSpec, shapes: Mapping[str, tuple[int | None, ...]]) -> FeatureSpec:
    """Return `spec` with the shapes found in the rows, by column name."""

    def filled(column: ColumnSpec) -> ColumnSpec:
        return replace(column, shape=tuple(shapes.get(column.mask_of or column.name, column.shape)))

    return replace(
        spec,
        features=tuple(map(filled, spec.features)),
        labels=tuple(map(filled, spec.labels)),
        weight=filled(spec.weight) if spec.weight else None,
    )
