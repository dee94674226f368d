"""Pictures as records of TensorFlow: files of serialised `tf.train.Example`."""

import io
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zoo.orca.errors import InvalidInputError, MissingPackageError
from zoo.orca.files import read_bytes, whole_path, write_bytes
from zoo.orca.worker.shards.pictures import picture

#: The files that are read in turns.
_AT_ONCE = 16


def check_tensorflow() -> None:
    """Raise `MissingPackageError` if TensorFlow is not installed here."""
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "records need the package tensorflow, which is not installed here\n"
            "Install it: pip install 'zoo-orca[tf2]'"
        ) from error


def imagenet_record(path: str, synset: str, label: int) -> bytes:
    """Return a picture's file, with its label, as a serialised `tf.train.Example`.

    Raises
    ------
    DataError
        If the file is no picture.
    """
    import tensorflow as tf

    data = read_bytes(path)
    found = picture(data, path)
    # A few files of ImageNet have another format or CMYK, whatever their names say.
    if found.format != "JPEG" or found.mode not in ("L", "RGB"):
        stream = io.BytesIO()
        found.convert("RGB").save(stream, "JPEG", quality=100)
        data = stream.getvalue()

    def number(value: int) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    def text(value: str | bytes) -> Any:
        one = value if isinstance(value, bytes) else value.encode()
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[one]))

    features = {
        "image/height": number(found.height),
        "image/width": number(found.width),
        "image/colorspace": text("RGB"),
        "image/channels": number(3),
        "image/class/label": number(label),
        "image/class/synset": text(synset),
        "image/format": text("JPEG"),
        "image/filename": text(path.rpartition("/")[2]),
        "image/encoded": text(data),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(example.SerializeToString(deterministic=True))


def write_records(path: str, records: Iterable[bytes]) -> int:
    """Write a file of records, by path or URL; return its size."""
    import tensorflow as tf

    # TensorFlow knows fewer filesystems than `write_bytes`, which also leaves no half of a file.
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory) / "records"
        with tf.io.TFRecordWriter(str(here)) as writer:
            for record in records:
                writer.write(record)
        data = here.read_bytes()
    write_bytes(path, data)
    return len(data)


def dataset_of_records(paths: Sequence[str]) -> Any:
    """Return a `tf.data.Dataset` of the records, which takes turns among the files.

    Raises
    ------
    InvalidInputError
        If TensorFlow has no filesystem for them.
    """
    import tensorflow as tf

    files = list(map(whole_path, paths))
    try:
        tf.io.gfile.exists(files[0])
    except tf.errors.UnimplementedError as error:
        raise InvalidInputError(
            f"TensorFlow cannot read {files[0]}: it has no filesystem for it\n"
            "Copy the files to a path of this machine, or install and import tensorflow-io"
        ) from error
    dataset = tf.data.Dataset.from_tensor_slices(files)
    # A number of its own: TensorFlow's follows the machine's cores, and with it the order of the
    # records, by which workers on several machines divide them.
    return dataset.interleave(
        tf.data.TFRecordDataset, cycle_length=_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE
    )
