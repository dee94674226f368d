"""Which files a reader is asked for."""

import glob
from collections.abc import Sequence
from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.files import is_directory, list_names


def found_files(file_path: Any, *, inside: bool = False) -> list[str]:
    """Return the paths that an argument names.

    Parameters
    ----------
    file_path : str or sequence of str
        Text with commas names several; local paths may have wildcards.
    inside : bool
        Whether directories are replaced by their files, sorted by name.

    Raises
    ------
    InvalidInputError
        If it names nothing, or a directory has no file.
    """
    paths = file_path.split(",") if isinstance(file_path, str) else _listed(file_path)
    paths = [one for path in paths for one in _matching(str(path).strip())]
    if not paths or "" in paths:
        raise InvalidInputError(
            f"file_path names no file: {file_path!r}\nName a file or directory, or a list of such"
        )
    if not inside:
        return paths
    return [one for path in paths for one in (_files_in(path) if is_directory(path) else [path])]


def _listed(file_path: Any) -> list[Any]:
    if isinstance(file_path, Sequence):
        return list(file_path)
    return [file_path]


def _matching(path: str) -> list[str]:
    if "://" in path or not glob.has_magic(path):
        return [path]
    found = sorted(glob.glob(path))
    if not found:
        raise InvalidInputError(
            f"no file matches {path}\nRelative paths are looked up in the current directory"
        )
    return found


def _files_in(directory: str) -> list[str]:
    names = [name for name in list_names(directory) if not name.startswith((".", "_"))]
    if not names:
        raise InvalidInputError(
            f"the directory {directory} has no files\nName one that has, or the files themselves"
        )
    return [f"{directory.rstrip('/')}/{name}" for name in names]
