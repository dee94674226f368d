"""Models and weights in Keras's own formats, at local paths or URLs.

Only a call to one of these imports the framework: saving a state, training and predicting need none
on the driver.
"""

import importlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.orca.errors import InvalidInputError, MissingPackageError
from zoo.orca.files import read_bytes, write_bytes
from zoo.orca.wire.job import Job
from zoo.orca.wire.packing import State

#: The extras that install each backend of Keras 3; "" is Keras 2.
_EXTRAS = {"": "tf2", "jax": "keras", "tensorflow": "keras,tf2", "torch": "keras,torch"}
#: File endings of Keras's formats.
ENDINGS = (".keras", ".h5")


def is_keras_path(path: str) -> bool:
    """Whether the ending of `path` names one of Keras's formats."""
    return path.endswith(ENDINGS)


def get_model(job: Job) -> Any:
    """Return the model with the job's state, in this process."""
    return _models("get_model", job).restore(job)


def save_model(job: Job, path: str) -> None:
    """Write the model to `path` in the format its ending names."""
    _written(_models("save", job).save_model, job, path)


def save_weights(job: Job, path: str, overwrite: bool) -> None:
    """Write the weights to `path`, which ends in .h5 (Keras 3: in .weights.h5)."""
    if not path.endswith(".h5"):
        raise InvalidInputError(
            f"weights cannot be saved to {path}\nName a path that ends in .weights.h5"
        )
    if not overwrite and "://" not in path and Path(path).expanduser().exists():
        raise InvalidInputError(
            f"{path} is there already, and overwrite is False\nName another, or pass overwrite=True"
        )
    _written(_models("save_weights", job).save_weights, job, path)


def load_weights(job: Job, path: str, *, whole: bool = False) -> State:
    """Return the model's state with the weights at `path`; `whole` adds the optimizer."""
    models = _models("load_weights", job)
    with tempfile.TemporaryDirectory(prefix="orca-keras-") as directory:
        local = Path(directory, path.rpartition("/")[2])
        local.write_bytes(read_bytes(path))
        state: State = models.load_weights(job, str(local), whole=whole)
        return state


def _written(write: Callable[[Job, str], None], job: Job, path: str) -> None:
    # Keras writes only to local files, and piece by piece.
    with tempfile.TemporaryDirectory(prefix="orca-keras-") as directory:
        local = Path(directory, path.rpartition("/")[2])
        write(job, str(local))
        write_bytes(path, local.read_bytes())


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
