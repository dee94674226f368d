"""Models and weights in Keras's own formats, at local paths or URLs.

Only a call to one of these imports the framework: saving a state, training and predicting need none
on the driver.
"""

import importlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.orca.errors import InvalidInputError, MissingPackageError, ModelError, StateError
from zoo.orca.files import (
    is_directory,
    is_regular,
    list_names,
    read_bytes,
    read_tree,
    remove_directory,
    write_bytes,
    write_tree,
)
from zoo.orca.learn.arguments import is_there
from zoo.orca.learn.files.kinds import CHECKPOINT, SAVED_MODEL
from zoo.orca.wire.job import Job
from zoo.orca.wire.packing import State, pack

#: The extras that install each backend of Keras 3; "" is Keras 2.
_EXTRAS = {"": "tf2", "jax": "keras", "tensorflow": "keras,tf2", "torch": "keras,torch"}
#: File endings of Keras's formats.
ENDINGS = (".keras", ".h5")


def has_keras_2(job: Job) -> bool:
    """Whether the workers' Keras is version 2, which has TensorFlow's formats."""
    chosen = job.environment.get("TF_USE_LEGACY_KERAS", "0").lower()
    return job.model.framework == "tf2" and chosen in ("1", "true")


def check_overwrite(path: str, overwrite: bool) -> None:
    """Raise if a file or directory is there that may not be replaced."""
    if not overwrite and (is_regular(path) or is_directory(path)):
        raise InvalidInputError(
            f"{path} is there already, and overwrite is False\nName another, or pass overwrite=True"
        )


def whole_model(
    job: Job, path: str, kind: str, *, data: bytes | None = None, call: str = "load", **given: Any
) -> bytes:
    """Return the creator of the model in a file, packed for the workers.

    Parameters
    ----------
    job : Job
    path, kind : str
    data : bytes, optional
        The file's content, if it lies nowhere.
    call : str
        What the user has called, for errors.
    **given : object
        `custom_objects`, `compile` and `safe_mode` of `load`.

    Raises
    ------
    StateError
        If the file cannot be read, or is no model's.
    ModelError
        If it holds code or names what is not given.
    """
    from zoo.orca.frameworks.keras.saving.whole import WholeModel

    if kind == SAVED_MODEL and not has_keras_2(job):
        raise InvalidInputError(
            f"{path} is a SavedModel, which only Keras 2 loads, in zoo.orca.learn.tf2\n"
            "Load it there, or save the model as .keras"
        )
    own = given.pop("custom_objects") or {}
    if kind == SAVED_MODEL:
        files = read_tree(path)
    else:
        files = {path: read_bytes(path) if data is None else data}
    model = WholeModel(
        path=path,
        call=call,
        kind=kind,
        framework=job.model.framework,
        legacy=has_keras_2(job),
        files=files,
        custom_objects=pack(dict(own), "custom_objects") if own else None,
        **given,
    )
    # The workers look through it as well: only they may have the package that reads HDF5.
    if is_there("h5py"):
        with tempfile.TemporaryDirectory(prefix="orca-keras-") as directory:
            try:
                model.checked(model.written_to(directory), own)
            except ModelError as error:
                raise StateError(str(error)) from error
    return pack(model, f"the model of {call}")


def get_model(job: Job, sample_input: Any) -> Any:
    """Return the model with the job's state, in this process; called with `sample_input` if any."""
    return _models("get_model", job).restore(job, sample_input)


def save_model(job: Job, path: str, kind: str, options: Mapping[str, Any]) -> None:
    """Write the model to `path` as a file or directory of a kind; `options` are Keras's."""
    if kind == SAVED_MODEL and not has_keras_2(job):
        raise InvalidInputError(
            "save_format='tf' writes a SavedModel, which only Keras 2 has, in zoo.orca.learn.tf2\n"
            "Name a path that ends in .keras, and leave save_format out"
        )
    models = _models("save", job)

    def write(local: str) -> None:
        models.save_model(job, local, options)

    _written(write, path, "" if kind == SAVED_MODEL else kind)


def save_weights(job: Job, path: str, kind: str) -> None:
    """Write the weights as .h5 (Keras 3: .weights.h5), or in TensorFlow's format to a prefix."""
    if kind == CHECKPOINT and not has_keras_2(job):
        raise InvalidInputError(
            f"weights cannot be saved to {path}: TensorFlow's format is Keras 2's alone\n"
            "Name a path that ends in .weights.h5"
        )
    models = _models("save_weights", job)

    def write(local: str) -> None:
        models.save_weights(job, local)

    _written(write, path, "" if kind == CHECKPOINT else ".h5")


def load_weights(
    job: Job,
    path: str,
    kind: str,
    *,
    whole: bool = False,
    by_name: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
) -> State:
    """Return the model's state with the weights at `path`; `whole` adds the optimizer."""
    if kind == SAVED_MODEL:
        given: dict[str, Any] = {"compile": whole, "safe_mode": True}
        given["custom_objects"] = custom_objects
        creator = whole_model(job, path, kind, **given)
        found: State = _models("load", job).state_of_whole(job, creator, path)
        return found
    if kind == CHECKPOINT and not has_keras_2(job):
        raise InvalidInputError(
            f"{path} is a checkpoint of TensorFlow, which only Keras 2 loads\n"
            "Load it with an estimator of zoo.orca.learn.tf2"
        )
    models = _models("load_weights", job)
    with tempfile.TemporaryDirectory(prefix="orca-keras-") as directory:
        name = path.rpartition("/")[2]
        if kind == CHECKPOINT:
            parent = path.rpartition("/")[0] or "."
            for one in list_names(parent):
                if one == f"{name}.index" or one.startswith(f"{name}.data-"):
                    Path(directory, one).write_bytes(read_bytes(f"{parent}/{one}"))
        else:
            name = name if name.endswith(kind) else f"{name}{kind}"
            Path(directory, name).write_bytes(read_bytes(path))
        local = str(Path(directory, name))
        try:
            state: State = models.load_weights(job, local, kind, whole=whole, by_name=by_name)
        except StateError as error:  # it has the name of our copy
            raise StateError(str(error).replace(local, path)) from error.__cause__
        return state


def _written(write: Callable[[str], None], path: str, ending: str) -> None:
    """Let Keras write a file of a format, or files in its directory, and bring them to `path`."""
    # Keras writes only to local files, and piece by piece.
    with tempfile.TemporaryDirectory(prefix="orca-keras-") as directory:
        name = path.rstrip("/").rpartition("/")[2]
        local = Path(directory, name if name.endswith(ending) else f"{name}{ending}")
        write(str(local))
        if local.is_file():
            write_bytes(path, local.read_bytes())
        elif local.is_dir():
            if is_directory(path) and "saved_model.pb" in list_names(path):
                remove_directory(path)  # what it has of another model would stay
            write_tree(path, read_tree(str(local)))
        else:  # a checkpoint: files that begin with the name
            parent = path.rpartition("/")[0] if "/" in path else "."
            write_tree(parent, read_tree(directory))


def _models(what: str, job: Job) -> ModuleType:
    backend = job.environment.get("KERAS_BACKEND", "")
    try:
        if job.model.framework == "keras":
            _import_keras(backend)
        else:
            importlib.import_module("tensorflow")
        from zoo.orca.frameworks.keras.saving import files as keras_files
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{what} needs the framework on the driver, and {error.name!r} is not installed "
            f"here\nInstall it: pip install 'zoo-orca[{_EXTRAS[backend]}]'"
        ) from error
    return keras_files


def _import_keras(backend: str) -> None:
    """Import Keras 3 with a backend, unless this process has imported it already."""
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = backend
    try:
        importlib.import_module("keras")
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = before
