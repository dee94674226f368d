"""Files of pictures as an XShards: a shard is one picture, or it with its label."""

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from zoo.orca.context.context import OrcaContext
from zoo.orca.data.image.coco import coco_pairs
from zoo.orca.data.image.formats import VOC_CLASSES, voc_pairs
from zoo.orca.data.pandas.paths import from_here
from zoo.orca.data.shard.lazy import local_shards
from zoo.orca.data.shard.xshards import XShards, made
from zoo.orca.errors import InvalidInputError
from zoo.orca.files import is_directory, list_names
from zoo.orca.worker.shards.pictures import ReadAnnotated, ReadPicture, ReadTargeted


def read_images(
    file_path: str | Sequence[str],
    label_func: Callable[[str], Any] | None = None,
    target_path: str | None = None,
    image_type: str = ".jpg",
    target_type: str = ".png",
    backend: str = "pillow",
) -> XShards:
    """Read pictures, sorted by their paths; a shard is a picture as Pillow has it.

    Parameters
    ----------
    file_path : str or list of str
        Directories, with those below, or files; by path or URL.
    label_func : callable, optional
        Gets a picture's path and returns its label; a shard then is a tuple of both.
    target_path : str, optional
        A directory of pictures of the same names, such as masks; a shard then is a pair of both.
    image_type, target_type : str
        The ends of the files' names.
    backend : str
        ``"pillow"``; ``"spark"`` means the same.
    """
    if backend not in ("pillow", "spark"):
        raise InvalidInputError(f"backend cannot be {backend!r}\nIt is 'pillow' or 'spark'")
    if label_func is not None and target_path is not None:
        raise InvalidInputError(
            "a picture has either a label or a target\nLeave label_func or target_path out"
        )
    paths = [file_path] if isinstance(file_path, str) else list(file_path)
    found = sorted(one for path in paths for one in _below(str(path), image_type))
    if not found:
        raise InvalidInputError(
            f"there are no files {image_type} in {', '.join(map(str, paths))}\n"
            "Name other directories, or image_type"
        )
    spark = OrcaContext.get_spark_session()
    targets: list[Any] = [None] * len(found)
    if target_path is not None:
        targets = from_here(spark, _targets(found, target_path, target_type))
    pairs = list(zip(from_here(spark, found), targets, strict=True))
    return made(local_shards(spark, pairs).then(ReadPicture(label_func), "label_func"))


def read_voc(
    file_path: str = "VOCdevkit",
    split_names: Sequence[tuple[int, str]] = ((2009, "trainval"),),
    classes: Sequence[str] | None = None,
    diff: bool = False,
    max_samples: int | None = None,
) -> XShards:
    """Read pictures with their boxes, in the format of Pascal VOC.

    Parameters
    ----------
    file_path : str
        The directory that has ``VOC2007`` and its like.
    split_names : list of (int, str)
        Years and splits.
    classes : list of str, optional
        The classes' names, in the order of their numbers; others are left out.
    diff : bool
        Whether boxes say if they are difficult.
    max_samples : int, optional
        So many pictures at most.

    Returns
    -------
    XShards
        A shard is a tuple: a picture, and an array with a row for each box: left, top, right and
        bottom as shares of the picture's width and height, the class's number, and with `diff`
        1 for a difficult one.
    """
    numbers = {name: place for place, name in enumerate(classes or VOC_CLASSES)}
    pairs = voc_pairs(file_path, split_names)[:max_samples]
    spark = OrcaContext.get_spark_session()
    rows = [tuple(from_here(spark, pair)) for pair in pairs]
    return made(local_shards(spark, rows).then(ReadAnnotated(numbers, diff)))


def read_coco(file_path: str, split: str = "train") -> XShards:
    """Read pictures with what is in them, in the format of COCO 2017.

    Parameters
    ----------
    file_path : str
        The directory that has ``annotations/instances_train2017.json``, ``train2017`` and their
        like.
    split : str
        ``"train"``, ``"val"`` and the like.

    Returns
    -------
    XShards
        A shard is a tuple: a picture, in colours, and a dict of lists, which have an item for each
        object in it: ``bbox`` (left, top, width, height), ``category_id``, ``area``, ``iscrowd``
        and ``segmentation``. They are in the order of the file, with those that have no object.
    """
    paths, targets = zip(*coco_pairs(file_path, split), strict=True)
    spark = OrcaContext.get_spark_session()
    rows = list(zip(from_here(spark, paths), targets, strict=True))
    return made(local_shards(spark, rows).then(ReadTargeted()))


def _below(path: str, end: str) -> list[str]:
    if not is_directory(path):
        return [path] if path.endswith(end) else []
    inner = (f"{path.rstrip('/')}/{name}" for name in list_names(path))
    return [found for one in inner for found in _below(one, end)]


def _targets(pictures: Sequence[str], directory: str, end: str) -> list[str]:
    there = {PurePosixPath(path).stem: path for path in _below(directory, end)}
    missing = [path for path in pictures if PurePosixPath(path).stem not in there]
    if missing:
        raise InvalidInputError(
            f"{missing[0]} has no target {PurePosixPath(missing[0]).stem}{end} in {directory}\n"
            "Give each picture one, or name another target_type"
        )
    return [there[PurePosixPath(path).stem] for path in pictures]
