"""What the annotations of COCO 2017 say of its pictures."""

import json
from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.files import is_regular, list_names, read_bytes

#: What a target has of each object in its picture.
FIELDS = ("bbox", "category_id", "area", "iscrowd", "segmentation")


def coco_pairs(root: str, split: str) -> list[tuple[str, dict[str, list[Any]]]]:
    """Return the path of each picture of a split and its target, in the order of the file.

    Raises
    ------
    InvalidInputError
        If the file of annotations is damaged, or names a picture that is not there.
    """
    base = root.rstrip("/")
    source = f"{base}/annotations/instances_{split}2017.json"
    data = read_bytes(source)
    try:
        said = json.loads(data)
    except ValueError as error:
        raise InvalidInputError(
            f"{source} is damaged: {error}\nCopy or download it again"
        ) from error
    try:
        names = {int(one["id"]): str(one["file_name"]) for one in said["images"]}
        targets = _targets(names, said["annotations"])
        several = len(names) < len(said["images"])
    except (KeyError, TypeError, ValueError) as error:
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidInputError(
            f"{source} is no file of COCO's instances: {lacks}\n"
            f"Give its images id and file_name, its annotations image_id, {', '.join(FIELDS)}"
        ) from error
    if not names:
        raise InvalidInputError(f"{source} has no images\nName another split")
    unknown = targets.keys() - names.keys()
    if unknown or several:
        what = f"describes no picture {min(unknown)}" if unknown else "has several images of one id"
        raise InvalidInputError(f"{source} {what}\nGive each picture one entry in its images")
    folder = f"{base}/{split}2017"
    _check_there(folder, list(names.values()))
    return [(f"{folder}/{name}", targets.get(key, _nothing())) for key, name in names.items()]


def _targets(names: dict[int, str], annotations: list[Any]) -> dict[int, dict[str, list[Any]]]:
    found = {key: _nothing() for key in names}
    for one in annotations:
        target = found.setdefault(int(one["image_id"]), _nothing())
        for field in FIELDS:
            target[field].append(one[field])
    return found


def _nothing() -> dict[str, list[Any]]:
    return {field: [] for field in FIELDS}


def _check_there(folder: str, names: list[str]) -> None:
    """Raise `InvalidInputError` if a picture is missing: one listing instead of many questions."""
    there = set(list_names(folder))
    missing = (name for name in names if name not in there)
    first = next((name for name in missing if not is_regular(f"{folder}/{name}")), None)
    if first is not None:
        raise InvalidInputError(
            f"there is no picture {folder}/{first}\n"
            "Copy it there, or leave it out of the annotations' images"
        )
