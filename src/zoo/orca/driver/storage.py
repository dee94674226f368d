"""Saved states: one safetensors file with a JSON header, on any filesystem pyarrow or fsspec opens.

Reading executes nothing.
"""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow.fs
from safetensors import SafetensorError
from safetensors.numpy import load, save

from zoo.orca.errors import InvalidInputError, StateError
from zoo.orca.wire.packing import State

_KEY = "zoo.orca"
_VERSION = 1


def save_state(state: State, path: str) -> None:
    """Write `state` to `path`, whole or not at all where the filesystem can rename."""
    # The file orders tensors by its own rules, so their order is kept in the header.
    header = {"version": _VERSION, "names": list(state.tensors), "meta": state.meta}
    write_bytes(path, save(state.tensors, {_KEY: json.dumps(header)}))


def load_state(path: str) -> State:
    """Read a state that `save_state` wrote.

    Raises
    ------
    StateError
        If the file is missing, damaged, or not one of this project's.
    """
    data = read_bytes(path)
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_KEY])
        tensors = load(data)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StateError(
            f"{path} is not a state that Estimator.save wrote, or it is damaged: {error!r}"
        ) from error
    if header["version"] != _VERSION:
        raise StateError(
            f"{path} has format version {header['version']}; this zoo-orca reads {_VERSION}"
        )
    return State({name: tensors[name] for name in header["names"]}, header["meta"])


def write_bytes(path: str, data: bytes) -> None:
    """Write a file at a local path or URL, under another name first: no reader sees half of it."""
    filesystem, target = _locate(path)
    if filesystem is None:
        with _fsspec_open(path, "wb") as stream:
            stream.write(data)
        return
    parent = target.rpartition("/")[0]
    if parent:
        filesystem.create_dir(parent, recursive=True)
    partial = f"{target}.partial"
    try:
        with filesystem.open_output_stream(partial) as stream:
            stream.write(data)
        filesystem.move(partial, target)
    except OSError as error:
        raise InvalidInputError(f"cannot write {path}: {error}") from error


def read_bytes(path: str) -> bytes:
    """Return the content of a file at a local path or URL."""
    filesystem, target = _locate(path)
    try:
        if filesystem is None:
            with _fsspec_open(path, "rb") as stream:
                return stream.read()
        with filesystem.open_input_stream(target) as stream:
            return cast(bytes, stream.read())
    except OSError as error:
        raise StateError(f"cannot read {path}: {error}") from error


def _locate(path: str) -> tuple[Any, str]:
    """Return pyarrow's filesystem and the path in it; None for a scheme only fsspec may know."""
    if "://" not in path:
        return pyarrow.fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
    try:
        return cast("tuple[Any, str]", pyarrow.fs.FileSystem.from_uri(path))
    except pyarrow.ArrowInvalid:
        return None, path


def _fsspec_open(path: str, mode: str) -> AbstractContextManager[IO[bytes]]:
    try:
        import fsspec
    except ImportError as error:
        scheme = path.partition("://")[0]
        raise InvalidInputError(
            f"{path}: pyarrow has no filesystem for {scheme}://, and fsspec, which may have one, "
            "is not installed: pip install fsspec"
        ) from error
    return cast("AbstractContextManager[IO[bytes]]", fsspec.open(path, mode))
