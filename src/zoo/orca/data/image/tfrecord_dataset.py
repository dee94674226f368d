"""ImageNet as files of TensorFlow's records, for programs that read it so."""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from zoo.orca.errors import InvalidInputError
from zoo.orca.files import (
    file_sizes,
    is_directory,
    list_names,
    read_bytes,
    remove_file,
    write_bytes,
)
from zoo.orca.worker.shards.pictures import pillow
from zoo.orca.worker.shards.records import (
    check_tensorflow,
    dataset_of_records,
    imagenet_record,
    write_records,
)

_METADATA = "_orca_metadata"
_TRAINING, _VALIDATION = "train", "validation"
_LABELS = "synset_labels.txt"
_NAME = re.compile(r"(train|validation)-(\d{5,})-of-(\d{5,})")
#: A picture's path and its synset, which is the name of its class.
_Pictures = list[tuple[str, str]]


def write_imagenet(
    imagenet_path: str,
    output_path: str,
    *,
    training_files: int = 1024,
    validation_files: int = 128,
) -> None:
    """Write the pictures of ImageNet as files of `tf.train.Example`.

    Parameters
    ----------
    imagenet_path : str
        The directory that has ``train/n03062245/n03062245_4620.JPEG`` and its like,
        ``validation/ILSVRC2012_val_00000001.JPEG`` and its like, and ``synset_labels.txt``: the
        synset of each picture in ``validation``, in the order of their names. One of the two
        directories may be missing.
    output_path : str
        Gets ``train/train-00000-of-01024`` and ``validation/validation-00000-of-00128`` and their
        like; those that are there are replaced.
    training_files, validation_files : int
        How many files.
    """
    for name, value in {
        "training_files": training_files,
        "validation_files": validation_files,
    }.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidInputError(f"{name} cannot be {value!r}\nIt is a whole number from 1")
    check_tensorflow()
    pillow()
    root, target = imagenet_path.rstrip("/"), output_path.rstrip("/")
    training, validation = _training(root), _validation(root)
    if not training and not validation:
        raise InvalidInputError(
            f"{root} has neither {_TRAINING} nor {_VALIDATION}\n"
            "Name the directory that the archives of ImageNet were extracted to"
        )
    # The same order each time: classes are mixed over the files, and anybody can write them anew.
    random.Random(0).shuffle(training)
    synsets = sorted({synset for _, synset in [*training, *validation]})
    labels = {synset: place for place, synset in enumerate(synsets, start=1)}
    if training:
        _write_split(f"{target}/{_TRAINING}", training, labels, training_files)
    if validation:
        _write_split(f"{target}/{_VALIDATION}", validation, labels, validation_files)


def read_imagenet(path: str, is_training: bool) -> Any:
    """Return a `tf.data.Dataset` of serialised `tf.train.Example`, as `write_imagenet` wrote them.

    Parameters
    ----------
    path : str
        What `write_imagenet` wrote to, or the directory in it that has the files. It is read by
        TensorFlow.
    is_training : bool
        Whether to read the files of the training or of the validation.
    """
    if not isinstance(is_training, bool):
        raise InvalidInputError(f"is_training cannot be {is_training!r}\nIt is True or False")
    check_tensorflow()
    split = _TRAINING if is_training else _VALIDATION
    base = path.rstrip("/")
    for directory in (base, f"{base}/{split}"):
        names = _names(directory, split)
        if names:
            _check_whole(directory, names)
            return dataset_of_records([f"{directory}/{name}" for name in names])
    raise InvalidInputError(
        f"there are no files {split}-00000-of-… in {path}\nName what write_imagenet wrote to"
    )


def write_tfrecord(format: str, output_path: str, *args: Any, **kwargs: Any) -> None:
    """Write a collection of pictures of a known format as files of records.

    Parameters
    ----------
    format : str
        ``"imagenet"``.
    output_path : str
    *args, **kwargs
        Of `write_imagenet`, by their names or in their order.
    """
    _known(format, {"imagenet": write_imagenet})(*args, output_path=output_path, **kwargs)


def read_tfrecord(format: str, path: str, *args: Any, **kwargs: Any) -> Any:
    """Read files of records of a known format as a `tf.data.Dataset`.

    Parameters
    ----------
    format : str
        ``"imagenet"``.
    path : str
    *args, **kwargs
        Of `read_imagenet`, by their names or in their order.
    """
    return _known(format, {"imagenet": read_imagenet})(path, *args, **kwargs)


def _known(format: str, functions: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    if format not in functions:
        raise InvalidInputError(
            f"format cannot be {format!r}\nIt is {', '.join(map(repr, functions))}"
        )
    return functions[format]


def _training(root: str) -> _Pictures:
    """Return the pictures for the training, sorted by their synsets."""
    folder = f"{root}/{_TRAINING}"
    if not is_directory(folder):
        return []
    inner = [name for name in list_names(folder) if is_directory(f"{folder}/{name}")]
    found = [(path, synset) for synset in inner for path in _pictures(f"{folder}/{synset}")]
    return _some(found, folder, "a directory for each synset")


def _validation(root: str) -> _Pictures:
    """Return the pictures for the validation, sorted by their names."""
    folder, source = f"{root}/{_VALIDATION}", f"{root}/{_LABELS}"
    if not is_directory(folder):
        return []
    paths = _pictures(folder)
    labels = list(filter(None, map(str.strip, read_bytes(source).decode().splitlines())))
    if paths and len(paths) != len(labels):
        raise InvalidInputError(
            f"{folder} has {len(paths):,} pictures, {source} {len(labels):,} labels\n"
            "Write a line for each picture, in the order of their names"
        )
    found = list(zip(paths, labels, strict=False))
    return _some(found, folder, "the pictures themselves")


def _pictures(folder: str) -> list[str]:
    names = [name for name in list_names(folder) if not name.startswith(".")]
    ends = (".jpeg", ".jpg")
    return [f"{folder}/{name}" for name in names if name.lower().endswith(ends)]


def _some(found: _Pictures, folder: str, what: str) -> _Pictures:
    if not found:
        raise InvalidInputError(
            f"there are no files .JPEG in {folder}\nIt has {what}; or remove it"
        )
    return found


def _write_split(
    folder: str, pictures: Sequence[tuple[str, str]], labels: Mapping[str, int], count: int
) -> None:
    """Write as many files with the pictures, in their order, and their sizes beside them."""
    split = folder.rpartition("/")[2]
    # First: files of an older, larger or smaller set are not of this one.
    for name in [_METADATA, *_names(folder, split)]:
        remove_file(f"{folder}/{name}")
    sizes = {}
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
        for number, places in enumerate(np.array_split(np.arange(len(pictures)), count)):
            name = f"{split}-{number:05d}-of-{count:05d}"
            part = [pictures[place] for place in places]
            rows = [(path, synset, labels[synset]) for path, synset in part]
            records = pool.map(lambda row: imagenet_record(*row), rows)
            sizes[name] = write_records(f"{folder}/{name}", records)
    write_bytes(f"{folder}/{_METADATA}", json.dumps(sizes).encode())


def _names(directory: str, split: str) -> list[str]:
    """Return the sorted names of a split's files."""
    if not is_directory(directory):
        return []
    found = [_NAME.fullmatch(name) for name in list_names(directory)]
    return [one[0] for one in found if one is not None and one[1] == split]


def _check_whole(directory: str, names: Sequence[str]) -> None:
    """Raise `InvalidInputError` if a file is missing, or is not as long as it was written.

    TensorFlow reads what is there: of a file that ends early, between two records, it says nothing.
    """
    counts = sorted({name.rpartition("-")[2] for name in names})
    if len(counts) > 1:
        raise InvalidInputError(
            f"{directory} has files of {len(counts)} sets: -of-{', -of-'.join(counts)}\n"
            "Remove those of the others"
        )
    split = names[0].partition("-")[0]
    wanted = [f"{split}-{number:05d}-of-{counts[0]}" for number in range(int(counts[0]))]
    missing = sorted(set(wanted) - set(names))
    if missing:
        raise InvalidInputError(
            f"{directory} lacks {len(missing):,} of {len(wanted):,} files, such as {missing[0]}\n"
            "Copy them, or write the dataset anew"
        )
    there = file_sizes(directory)
    if _METADATA not in there:  # another program wrote the files
        return
    written = json.loads(read_bytes(f"{directory}/{_METADATA}"))
    wrong = [name for name in names if there[name] != written.get(name)]
    if wrong:
        raise InvalidInputError(
            f"{directory}/{wrong[0]} is damaged: it has {there[wrong[0]]:,} bytes, and "
            f"{written.get(wrong[0], 0):,} were written\nCopy it again, or write the dataset anew"
        )
