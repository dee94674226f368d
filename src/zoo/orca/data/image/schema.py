"""What the columns of a Parquet dataset of pictures are, and their values as cells."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa

from zoo.orca.errors import DataError, InvalidInputError
from zoo.orca.files import read_bytes


class FeatureType(str, Enum):
    """Kinds of columns: a picture's file, an array, one value."""

    IMAGE = "image"
    NDARRAY = "ndarray"
    SCALAR = "scalar"


class DType(str, Enum):
    """Types of values."""

    STRING = "string"
    BYTES = "bytes"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    UINT8 = "uint8"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaField:
    """One column.

    Parameters
    ----------
    feature_type : FeatureType
        Values of a picture are paths of its file, whose bytes are stored as they are.
    dtype : DType
    shape : tuple of int
        Of an array; -1 where rows differ.
    """

    feature_type: FeatureType
    dtype: DType = DType.FLOAT32
    shape: tuple[int, ...] = ()

    def cell(self, value: Any, name: str) -> Any:
        """Return a value as it is stored.

        Raises
        ------
        DataError
            If it is not of the field's kind.
        """
        if self.feature_type is FeatureType.IMAGE:
            return value if isinstance(value, bytes) else read_bytes(str(value))
        if self.feature_type is FeatureType.SCALAR:
            return value.item() if isinstance(value, np.generic) else value
        array = np.asarray(value, self.dtype.value)
        fits = len(array.shape) == len(self.shape) and all(
            wanted in (-1, there) for wanted, there in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise DataError(
                f"{name} has the shape {array.shape}, and the schema says {self.shape}\n"
                "Write -1 where rows differ"
            )
        return {"shape": list(array.shape), "data": array.tobytes()}

    def value(self, cell: Any) -> Any:
        """Return what `cell` stored; a picture as its file's bytes."""
        if self.feature_type is not FeatureType.NDARRAY:
            return cell
        return np.frombuffer(cell["data"], self.dtype.value).reshape(cell["shape"])

    def arrow(self) -> pa.DataType:
        """Return the type of the stored column."""
        if self.feature_type is FeatureType.IMAGE or self.dtype is DType.BYTES:
            return pa.binary()
        if self.feature_type is FeatureType.NDARRAY:
            return pa.struct([("shape", pa.list_(pa.int64())), ("data", pa.binary())])
        return pa.string() if self.dtype is DType.STRING else pa.type_for_alias(self.dtype.value)


def encode_schema(schema: Mapping[str, SchemaField]) -> str:
    """Return a schema as JSON."""
    return json.dumps(
        {
            name: {
                "feature_type": field.feature_type.value,
                "dtype": field.dtype.value,
                "shape": list(field.shape),
            }
            for name, field in schema.items()
        }
    )


def decode_schema(text: str) -> dict[str, SchemaField]:
    """Return the schema that `encode_schema` wrote.

    Raises
    ------
    InvalidInputError
        If the text is something else.
    """
    try:
        return {
            str(name): SchemaField(
                feature_type=FeatureType(field["feature_type"]),
                dtype=DType(field["dtype"]),
                shape=tuple(field["shape"]),
            )
            for name, field in json.loads(text).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"the schema of the dataset cannot be read: {error}\nWrite the dataset anew"
        ) from error
