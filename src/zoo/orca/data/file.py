"""Files by local path or URL, on any filesystem that pyarrow or fsspec opens.

They are read and written by the process that calls: the driver, or a worker within
`XShards.transform_shard`.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.orca.errors import InvalidInputError, MissingPackageError
from zoo.orca.files import (
    is_directory,
    is_regular,
    list_names,
    make_directory,
    read_bytes,
    remove_directory,
    write_bytes,
)

if TYPE_CHECKING:
    from PIL.Image import Image


def open_text(path: str) -> list[str]:
    """Return the lines of a text file, in UTF-8, without blanks at their ends."""
    return [line.strip() for line in read_bytes(path).decode().splitlines()]


def open_image(path: str) -> "Image":
    """Return an image, as Pillow has it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError(
            "images need the package pillow, which is not installed here\n"
            "Install it: pip install 'zoo-orca[image]'"
        ) from error
    image = Image.open(io.BytesIO(read_bytes(path)))
    image.load()
    return image


def load_numpy(path: str) -> Any:
    """Return what is in a ``.npy`` or ``.npz`` file; objects, which may run code, are refused."""
    try:
        return np.load(io.BytesIO(read_bytes(path)))
    except ValueError as error:
        raise InvalidInputError(
            f"{path} is no file of arrays: {error}\nName one that numpy.save has written"
        ) from error


def exists(path: str) -> bool:
    """Whether there is a file or directory."""
    return is_directory(path) or is_regular(path)


def is_file(path: str) -> bool:
    """Whether there is a file."""
    return is_regular(path)


def makedirs(path: str) -> None:
    """Make a directory, and those above it that are missing."""
    make_directory(path)


def listdir(path: str) -> list[str]:
    """Return the sorted names of what is in a directory.

    Raises
    ------
    InvalidInputError
        If there is no such directory.
    """
    if not is_directory(path):
        raise InvalidInputError(
            f"there is no directory {path}\nMake it with makedirs, or name another"
        )
    return list_names(path)


def rmdir(path: str) -> None:
    """Remove a directory with all that is in it."""
    remove_directory(path)


def write_text(path: str, text: str) -> int:
    """Write a text file, in UTF-8; return the number of characters."""
    write_bytes(path, text.encode())
    return len(text)


def put_local_file_to_remote(local_path: str, remote_path: str) -> None:
    """Copy a file of this machine to a path or URL."""
    write_bytes(remote_path, read_bytes(local_path))


def put_local_dir_tree_to_remote(local_dir: str, remote_dir: str) -> None:
    """Copy a directory of this machine, with all below it, to a path or URL."""
    root = Path(local_dir)
    if not root.is_dir():
        raise InvalidInputError(f"there is no directory {local_dir}\nName one of this machine")
    makedirs(remote_dir)
    for path in sorted(root.rglob("*")):
        if path.is_file():
            target = f"{remote_dir.rstrip('/')}/{path.relative_to(root).as_posix()}"
            write_bytes(target, path.read_bytes())


def get_remote_file_to_local(remote_path: str, local_path: str) -> None:
    """Copy a file from a path or URL to this machine."""
    write_bytes(local_path, read_bytes(remote_path))


def get_remote_dir_to_local(remote_dir: str, local_dir: str) -> None:
    """Copy a directory from a path or URL, with all below it, to this machine."""
    for name in listdir(remote_dir):
        source, target = f"{remote_dir.rstrip('/')}/{name}", f"{local_dir.rstrip('/')}/{name}"
        if is_directory(source):
            get_remote_dir_to_local(source, target)
        else:
            get_remote_file_to_local(source, target)
