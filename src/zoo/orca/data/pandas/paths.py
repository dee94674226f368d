"""Which files a reader is asked for."""

import glob
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pyspark.sql import SparkSession

from zoo.orca.data.shard.lazy import asked
from zoo.orca.driver.session.cluster import is_local
from zoo.orca.errors import InvalidInputError, WorkerError
from zoo.orca.files import is_directory, list_names

Answer = TypeVar("Answer")


def read_by(
    spark: SparkSession, paths: Sequence[str], action: Callable[[list[str]], Answer]
) -> Answer:
    """Return what an action of Spark's makes of paths.

    Raises
    ------
    InvalidInputError
        If there is no such file.
    """
    try:
        return asked(spark, lambda: action(from_here(spark, paths)))
    except WorkerError as error:
        if "[PATH_NOT_FOUND]" not in str(error):
            raise
        path = str(error).rpartition("exist: ")[2].rstrip(".")
        raise InvalidInputError(
            f"there is no file {path}\nName one that Spark reads, by path or URL"
        ) from error


def from_here(spark: SparkSession, paths: Sequence[str]) -> list[str]:
    """Return paths with those of files of this machine that are relative as URLs, in local mode.

    Spark's processes may have been started elsewhere than this program is now.
    """

    def absolute(path: str) -> str:
        is_relative = "://" not in path and not Path(path).is_absolute()
        # Not `as_uri`: Hadoop looks for a blank by the name %20.
        return f"file:{Path(path).absolute()}" if is_relative and Path(path).exists() else path

    return list(map(absolute, paths)) if is_local(spark) else list(paths)


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
