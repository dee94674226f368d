"""Known collections of pictures, written as a Parquet dataset."""

import gzip
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.data.image.parquet_dataset import ParquetDataset
from zoo.orca.data.image.schema import DType, FeatureType, SchemaField
from zoo.orca.errors import InvalidInputError
from zoo.orca.files import list_names, read_bytes
from zoo.orca.worker.shards.pictures import boxes, picture

#: The classes of Pascal VOC, in the order of their numbers.
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
_IMAGES, _LABELS = 2051, 2049


def write_mnist(image_file: str, label_file: str, output_path: str, **kwargs: Any) -> None:
    """Write a pair of files of MNIST, packed or not: columns ``image`` and ``label``."""
    images, labels = _idx(image_file, _IMAGES), _idx(label_file, _LABELS)
    if len(images) != len(labels):
        raise InvalidInputError(
            f"{image_file} has {len(images):,} pictures, {label_file} {len(labels):,} labels\n"
            "Name two files that belong together"
        )
    schema = {
        "image": SchemaField(
            feature_type=FeatureType.NDARRAY, dtype=DType.UINT8, shape=images.shape[1:]
        ),
        "label": SchemaField(feature_type=FeatureType.SCALAR, dtype=DType.INT32),
    }
    rows = ({"image": a, "label": int(b)} for a, b in zip(images, labels, strict=True))
    ParquetDataset.write(output_path, rows, schema, **kwargs)


def write_from_directory(
    directory: str,
    label_map: Mapping[str, int],
    output_path: str,
    shuffle: bool = True,
    **kwargs: Any,
) -> None:
    """Write the pictures in a directory's directories, whose names are the labels.

    Parameters
    ----------
    directory : str
    label_map : dict of str to int
        The number of each label; other directories are left out.
    output_path : str
    shuffle : bool
        Whether to write them in a random order, which is the same each time.
    **kwargs
        `block_size` and `write_mode` of `ParquetDataset.write`.
    """
    found = [
        (f"{directory}/{label}/{name}", label)
        for label in label_map
        for name in list_names(f"{directory}/{label}")
    ]
    if not found:
        raise InvalidInputError(
            f"there are no files in {directory} below {', '.join(map(repr, label_map))}\n"
            "Name a directory with one directory for each label"
        )
    order = np.random.default_rng(0).permutation(len(found)) if shuffle else range(len(found))
    schema = {
        "image": SchemaField(feature_type=FeatureType.IMAGE, dtype=DType.BYTES),
        "label": SchemaField(feature_type=FeatureType.SCALAR, dtype=DType.INT32),
        "image_id": SchemaField(feature_type=FeatureType.SCALAR, dtype=DType.STRING),
        "label_str": SchemaField(feature_type=FeatureType.SCALAR, dtype=DType.STRING),
    }

    def rows() -> Iterator[dict[str, Any]]:
        for place in order:
            path, label = found[place]
            name = path.rpartition("/")[2]
            yield {"image": path, "label": label_map[label], "image_id": name, "label_str": label}

    ParquetDataset.write(output_path, rows(), schema, **kwargs)


def write_voc(
    voc_root_path: str, splits_names: Sequence[tuple[int, str]], output_path: str, **kwargs: Any
) -> None:
    """Write Pascal VOC: columns ``image``, ``label`` (boxes as `read_voc` has them), an id."""
    numbers = {name: place for place, name in enumerate(VOC_CLASSES)}
    schema = {
        "image": SchemaField(feature_type=FeatureType.IMAGE, dtype=DType.BYTES),
        "label": SchemaField(feature_type=FeatureType.NDARRAY, dtype=DType.FLOAT32, shape=(-1, 5)),
        "image_id": SchemaField(feature_type=FeatureType.SCALAR, dtype=DType.STRING),
    }

    def rows() -> Iterator[dict[str, Any]]:
        for image, annotation in voc_pairs(voc_root_path, splits_names):
            size = picture(read_bytes(image), image).size
            label = boxes(read_bytes(annotation), numbers, size)[:, :5]
            yield {"image": image, "label": label, "image_id": image.rpartition("/")[2]}

    ParquetDataset.write(output_path, rows(), schema, **kwargs)


def write_parquet(format: str, output_path: str, *args: Any, **kwargs: Any) -> None:
    """Write a collection of pictures of a known format.

    Parameters
    ----------
    format : str
        ``"mnist"``, ``"image_folder"`` or ``"voc"``.
    output_path : str
    *args, **kwargs
        Of `write_mnist`, `write_from_directory` or `write_voc`, by their names or in their order.
    """
    writers: dict[str, Any] = {
        "mnist": write_mnist,
        "image_folder": write_from_directory,
        "voc": write_voc,
    }
    if format not in writers:
        raise InvalidInputError(
            f"format cannot be {format!r}\nIt is {', '.join(map(repr, writers))}"
        )
    writers[format](*args, output_path=output_path, **kwargs)


def voc_pairs(root: str, splits: Sequence[tuple[int, str]]) -> list[tuple[str, str]]:
    """Return the paths of each picture and its annotation."""
    found = []
    for year, split in splits:
        base = f"{root}/VOC{year}"
        listed = read_bytes(f"{base}/ImageSets/Main/{split}.txt").decode()
        for name in filter(None, map(str.strip, listed.splitlines())):
            found.append((f"{base}/JPEGImages/{name}.jpg", f"{base}/Annotations/{name}.xml"))
    return found


def _idx(path: str, magic: int) -> NDArray[np.uint8]:
    """Return the array in a file of MNIST's format."""
    data = read_bytes(path)
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if len(data) < 8 or struct.unpack(">i", data[:4])[0] != magic:
        raise InvalidInputError(
            f"{path} is no file of MNIST's {'pictures' if magic == _IMAGES else 'labels'}\n"
            "Name the one that begins with 'train-' or 't10k-'"
        )
    axes = data[3]
    shape = struct.unpack(f">{axes}i", data[4 : 4 + 4 * axes])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
