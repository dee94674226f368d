"""Pictures on an executor: read by Pillow, alone or as the columns of a Parquet dataset."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoo.orca.errors import DataError, MissingPackageError
from zoo.orca.files import read_bytes


def pillow() -> Any:
    """Return the module of Pillow that opens pictures.

    Raises
    ------
    MissingPackageError
        If Pillow is not installed here.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError(
            "pictures need the package pillow, which is not installed here\n"
            "Install it: pip install 'zoo-orca[image]'"
        ) from error
    return Image


def picture(data: bytes, path: str = "a picture") -> Any:
    """Return the picture that a file's bytes are, as Pillow has it.

    Raises
    ------
    MissingPackageError
        If Pillow is not installed here.
    DataError
        If the bytes are no picture.
    """
    opens = pillow()
    try:
        found = opens.open(io.BytesIO(data))
        found.load()
    # Whatever Pillow raises for a damaged file: of PNG, one whose sizes are wrong, any other.
    except (SyntaxError, ValueError, opens.DecompressionBombError, OSError) as error:
        raise DataError(f"{path} is no picture: {error}\nLeave such files out") from error
    return found


@dataclass(frozen=True, slots=True)
class ReadPicture:
    """Reads the picture whose path a shard is, with its label or the picture that is its target."""

    label: Callable[[str], Any] | None

    def __call__(self, shard: Any) -> Any:
        """Return the picture, or a tuple of it and its label."""
        path, target = shard
        found = picture(read_bytes(path), path)
        if target is not None:
            return found, picture(read_bytes(target), target)
        return found if self.label is None else (found, self.label(path))


@dataclass(frozen=True, slots=True)
class ReadAnnotated:
    """Reads a picture and the boxes that a file in the format of Pascal VOC says are in it."""

    classes: dict[str, int]
    with_difficulty: bool = False

    def __call__(self, shard: Any) -> Any:
        """Return the picture and its boxes, as `boxes` has them."""
        path, annotation = shard
        found = picture(read_bytes(path), path)
        rows = boxes(read_bytes(annotation), self.classes, found.size)
        return found, rows if self.with_difficulty else rows[:, :5]


@dataclass(frozen=True, slots=True)
class ReadTargeted:
    """Reads a picture, whose target is known."""

    def __call__(self, shard: Any) -> Any:
        """Return the picture, in colours, and its target."""
        path, target = shard
        return picture(read_bytes(path), path).convert("RGB"), target


def boxes(data: bytes, classes: dict[str, int], size: tuple[int, int]) -> Any:
    """Return the boxes of an annotation of a picture whose width and height are `size`.

    Returns
    -------
    array of shape (boxes, 6)
        Left, top, right and bottom, as shares of width and height; the class's number; and 1 if the
        annotation calls it difficult.
    """
    found = []
    width, height = size
    for one in ElementTree.fromstring(data).iter("object"):
        name, box = (one.findtext("name") or "").strip().lower(), one.find("bndbox")
        if name not in classes or box is None:
            continue
        sides = [float(box.findtext(side) or 0) for side in ("xmin", "ymin", "xmax", "ymax")]
        shares = [side / of for side, of in zip(sides, (width, height) * 2, strict=True)]
        difficult = (one.findtext("difficult") or "").strip() == "1"
        found.append([*shares, float(classes[name]), float(difficult)])
    return np.array(found, np.float32).reshape(-1, 6)


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """Reads one file of a Parquet dataset as a dict of arrays.

    Parameters
    ----------
    schema : str
        As JSON.
    """

    schema: str

    def __call__(self, shard: str) -> Any:
        """Return the columns; pictures as arrays of their points."""
        import json

        table = pq.read_table(pa.BufferReader(read_bytes(shard)))
        fields = json.loads(self.schema)
        return {name: _column(table[name], name, field) for name, field in fields.items()}


def _column(column: pa.ChunkedArray, name: str, field: dict[str, Any]) -> Any:
    cells = column.to_pylist()
    if field["feature_type"] == "scalar":
        return column.to_numpy()
    if field["feature_type"] == "image":
        values = [np.asarray(picture(cell, name)) for cell in cells]
    else:
        values = [np.frombuffer(c["data"], field["dtype"]).reshape(c["shape"]) for c in cells]
    shapes = {value.shape for value in values}
    if len(shapes) > 1:
        raise DataError(
            f"{name} has arrays of several shapes, such as {sorted(shapes)[:2]}\n"
            "Make them one size before they are written, or read rows: read_parquet"
        )
    return np.stack(values) if values else np.zeros((0,))


def iterable_of_torch(elements: Callable[[], Iterator[Any]], batch_size: int) -> Any:
    """Return a loader of PyTorch over the elements."""
    from torch.utils.data import DataLoader, IterableDataset

    class Rows(IterableDataset[Any]):  # type: ignore[misc]
        """The rows of a dataset, read anew for each pass."""

        def __iter__(self) -> Iterator[Any]:
            return elements()

    return DataLoader(Rows(), batch_size=batch_size)


def dataset_of_tensorflow(elements: Callable[[], Iterator[Any]]) -> Any:
    """Return a `tf.data.Dataset` of the elements, whose types the first one tells."""
    import tensorflow as tf

    first = next(elements(), None)
    if first is None:
        raise DataError("the dataset has no rows\nWrite some")
    shapes = tf.nest.map_structure(_spec, first)
    return tf.data.Dataset.from_generator(elements, output_signature=shapes)


def _spec(value: Any) -> Any:
    import tensorflow as tf

    array = np.asarray(value)
    kind = tf.string if array.dtype.kind in "SUO" else tf.as_dtype(array.dtype)
    return tf.TensorSpec([None] * array.ndim, kind)
