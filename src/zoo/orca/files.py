"""Whole files by local path or URL, on any filesystem that pyarrow or fsspec opens.

Used on the driver for saved states and on workers for checkpoints.
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.fs

from zoo.orca.errors import InvalidInputError, StateError


def whole_path(path: str | Path) -> str:
    """Return a URL as it is, and a local path from the root.

    For a path that goes to another process: Spark's, and those of the workers, have directories of
    their own, which a relative path would mean there.
    """
    if "://" in (text := str(path)):
        return text
    return str(Path(text).expanduser().absolute())


def write_bytes(path: str, data: bytes) -> None:
    """Write a file under another name, then rename it: no reader ever sees half a file.

    Raises
    ------
    InvalidInputError
        If nothing can be written there.
    """
    filesystem, target = _locate(path)
    try:
        if filesystem is None:
            with _fsspec_open(path, "wb") as stream:
                stream.write(data)
            return
        parent = target.rpartition("/")[0]
        if parent:
            filesystem.create_dir(parent, recursive=True)
        partial = f"{target}.partial"
        try:
            with filesystem.open_output_stream(partial, compression=None) as stream:
                stream.write(data)
            filesystem.move(partial, target)
        except BaseException:
            # Above all on a full disk nobody needs half a file.
            with contextlib.suppress(OSError):
                filesystem.delete_file(partial)
            raise
    except OSError as error:
        raise InvalidInputError(
            f"cannot write {path}: {error}\n"
            "Name a path or URL that this program may write to, with space left"
        ) from error


def check_writable(directory: str, name: str, *, model_dir: str, host: str) -> None:
    """Make a directory of `model_dir`, if it is missing; write a file `name` there and remove it.

    Raises
    ------
    InvalidInputError
        If this machine, which is called `host`, cannot.
    """
    probe = f"{directory}/{name}"
    with writing(model_dir, host):
        write_bytes(probe, b"may be removed")
        remove_file(probe)


@contextlib.contextmanager
def writing(model_dir: str, host: str) -> Iterator[None]:
    """Name `model_dir`, and this machine, in the error of what cannot be written there.

    Raises
    ------
    InvalidInputError
    """
    try:
        yield
    except (InvalidInputError, OSError) as error:
        raise InvalidInputError(
            f"model_dir={model_dir!r} cannot be written on {host}: "
            f"{error.__cause__ or str(error).partition(chr(10))[0]}\n"
            "Name a directory or URL that the driver and all workers may write to, with space left"
        ) from error


def read_bytes(path: str) -> bytes:
    """Return the content of a file.

    Raises
    ------
    StateError
        If it cannot be read.
    """
    try:
        filesystem, target = _locate(path)
        if filesystem is None:
            with _fsspec_open(path, "rb") as stream:
                return stream.read()
        with filesystem.open_input_stream(target, compression=None) as stream:
            return cast(bytes, stream.read())
    except InvalidInputError as error:  # there is no filesystem for it; the error says why
        raise StateError(str(error)) from error
    except FileNotFoundError as error:
        raise StateError(
            f"there is no file {path}\n"
            f"Relative paths are looked up in {Path.cwd()}, on this machine"
        ) from error
    except Exception as error:  # whatever a filesystem raises: pyarrow's, or any of fsspec's
        raise StateError(
            f"cannot read {path}: {error}\nName a file, by path or URL, that this program may read"
        ) from error


def list_names(directory: str) -> list[str]:
    """Return the sorted names of the files in a directory; none if it does not exist."""
    filesystem, target = _locate(directory)
    if filesystem is None:
        return _fsspec_names(directory)
    selector = pyarrow.fs.FileSelector(target, allow_not_found=True)
    return sorted(info.base_name for info in filesystem.get_file_info(selector))


def file_sizes(directory: str) -> dict[str, int]:
    """Return the bytes of each file in a directory, by its name; none if it does not exist."""
    filesystem, target = _locate(directory)
    if filesystem is None:
        found = _fsspec(directory)
        listed = found.ls(directory, detail=True) if found.exists(directory) else []
        return {Path(one["name"]).name: one["size"] for one in listed if one["type"] == "file"}
    selector = pyarrow.fs.FileSelector(target, allow_not_found=True)
    return {one.base_name: one.size for one in filesystem.get_file_info(selector) if one.is_file}


def is_directory(path: str) -> bool:
    """Whether a path or URL names a directory that exists."""
    filesystem, target = _locate(path)
    if filesystem is None:
        return bool(_fsspec(path).isdir(path))
    return bool(filesystem.get_file_info(target).type == pyarrow.fs.FileType.Directory)


def is_regular(path: str) -> bool:
    """Whether a path or URL names a file that exists."""
    filesystem, target = _locate(path)
    if filesystem is None:
        return bool(_fsspec(path).isfile(path))
    return bool(filesystem.get_file_info(target).type == pyarrow.fs.FileType.File)


def make_directory(path: str) -> None:
    """Make a directory, and those above it that are missing.

    Raises
    ------
    InvalidInputError
        If it cannot be made there.
    """
    filesystem, target = _locate(path)
    try:
        if filesystem is None:
            _fsspec(path).makedirs(path, exist_ok=True)
        else:
            filesystem.create_dir(target, recursive=True)
    except OSError as error:
        raise InvalidInputError(
            f"cannot make the directory {path}: {error}\nName one that this program may write to"
        ) from error


def read_head(path: str, size: int) -> bytes:
    """Return a file's first bytes.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    filesystem, target = _locate(path)
    if filesystem is None:
        with _fsspec_open(path, "rb") as stream:
            return stream.read(size)
    with filesystem.open_input_stream(target, compression=None) as stream:
        return cast(bytes, stream.read(size))


def read_tree(directory: str) -> dict[str, bytes]:
    """Return the content of all files below a directory, by their names within it."""
    found = {}
    for name in list_names(directory):
        path = f"{directory.rstrip('/')}/{name}"
        if is_directory(path):
            found.update({f"{name}/{inner}": data for inner, data in read_tree(path).items()})
        else:
            found[name] = read_bytes(path)
    return found


def write_tree(directory: str, files: Mapping[str, bytes]) -> None:
    """Write files below a directory, by their names within it."""
    for name, data in files.items():
        write_bytes(f"{directory.rstrip('/')}/{name}", data)


def changed_at(path: str) -> float:
    """Return when a file or directory was last written, in seconds; 0 if nobody knows."""
    filesystem, target = _locate(path)
    if filesystem is None:
        try:
            return float(_fsspec(path).modified(path).timestamp())
        except (NotImplementedError, FileNotFoundError, KeyError):
            return 0.0
    nanoseconds = filesystem.get_file_info(target).mtime_ns
    return 0.0 if nanoseconds is None else nanoseconds / 1e9


def remove_file(path: str) -> None:
    """Remove a file, if it exists."""
    filesystem, target = _locate(path)
    with contextlib.suppress(FileNotFoundError):
        if filesystem is None:
            _fsspec(path).rm(path)
        else:
            filesystem.delete_file(target)


def remove_directory(directory: str) -> None:
    """Remove a directory and its content, if it exists."""
    filesystem, target = _locate(directory)
    if filesystem is None:
        found = _fsspec(directory)
        if found.exists(directory):
            found.rm(directory, recursive=True)
    elif filesystem.get_file_info(target).type == pyarrow.fs.FileType.Directory:
        filesystem.delete_dir(target)


def _locate(path: str) -> tuple[Any, str]:
    """Return pyarrow's filesystem and the path in it; None if only fsspec may know the scheme."""
    if "://" not in path:
        # Hadoop writes a local path so, with one slash, and escapes nothing.
        return pyarrow.fs.LocalFileSystem(), whole_path(path.removeprefix("file:"))
    try:
        return cast("tuple[Any, str]", pyarrow.fs.FileSystem.from_uri(path))
    except pa.ArrowInvalid:
        return None, path


def _fsspec(path: str) -> Any:
    try:
        import fsspec
    except ImportError as error:
        scheme = path.partition("://")[0]
        raise InvalidInputError(
            f"{path}: pyarrow has no filesystem for {scheme}://, and fsspec, which may have one, "
            "is not installed\nInstall it: pip install fsspec"
        ) from error
    try:
        return fsspec.core.url_to_fs(path)[0]
    except (ValueError, ImportError) as error:  # no such scheme, or a package that it needs
        raise InvalidInputError(
            f"{path} cannot be opened: {error}\n"
            "Name a local path or a URL of another scheme, or install fsspec's package for this one"
        ) from error


def _fsspec_open(path: str, mode: str) -> AbstractContextManager[IO[bytes]]:
    return cast("AbstractContextManager[IO[bytes]]", _fsspec(path).open(path, mode))


def _fsspec_names(directory: str) -> list[str]:
    filesystem = _fsspec(directory)
    if not filesystem.exists(directory):
        return []
    return sorted(Path(name).name for name in filesystem.ls(directory, detail=False))
