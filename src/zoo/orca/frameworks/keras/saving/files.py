"""Keras models in the caller's own process: `get_model`, and Keras's own file formats.

Unlike a job in a child, this code resets nothing in the process: its seeds, policies and other
models belong to the caller.
"""

import warnings
import zlib
from typing import Any
from zipfile import BadZipFile

from zoo.orca.errors import ModelError, StateError
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.saving.archives import read_h5_optimizer, read_rate
from zoo.orca.frameworks.keras.saving.checked import check_file
from zoo.orca.frameworks.keras.saving.state import read_state, write_state
from zoo.orca.wire.job import Job
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.values import Unsound


def restore(job: Job) -> Any:
    """Return the model of `job`, built, with the job's state if there is one."""
    return _restored(job).model


def save_model(job: Job, path: str) -> None:
    """Write the model in the format of `path`'s ending: .keras or .h5."""
    with warnings.catch_warnings():
        # A user who names a path .h5 has chosen Keras's legacy format.
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file", UserWarning)
        _restored(job).model.save(path)


def save_weights(job: Job, path: str) -> None:
    """Write only the weights, in Keras's format."""
    _restored(job).model.save_weights(path)


def load_weights(job: Job, path: str, *, whole: bool = False) -> State:
    """Return the state of a model with the weights of a .keras or .h5 file.

    From a .keras or .weights.h5 file, the optimizer's variables are read too, if it has them.
    Nothing in a file is executed.

    Parameters
    ----------
    job : Job
    path : str
    whole : bool
        Whether to read an .h5 file as a whole model, with the optimizer's variables.

    Raises
    ------
    StateError
        If the file is not Keras's, or its weights do not fit the model.
    """
    made = _built(job)
    whole = path.endswith(".keras") or (whole and not path.endswith(".weights.h5"))
    compiled = made.keras.is_compiled(made.model) and made.model.optimizer is not None
    if compiled and (whole or path.endswith(".weights.h5")):
        # Such a file may hold the optimizer's variables, which need a place to go to.
        made.keras.build_optimizer(made.model.optimizer, made.trainable_variables)
    try:
        check_file(path)
        made.model.load_weights(path)
        if compiled and whole:
            if path.endswith(".h5"):
                read_h5_optimizer(made, path)
            read_rate(made, path)
    except (BadZipFile, zlib.error, Unsound) as error:
        raise StateError(
            f"{path} is damaged: {error}\nWrite it anew, or load another copy of it"
        ) from error
    except Exception as error:  # whatever Keras and HDF5 say of any bytes
        told = " ".join(str(error).split()) or type(error).__name__
        raise StateError(
            f"{path} does not hold weights of this model: {told}\n"
            "Load it into the model that it was saved from, or write it anew"
        ) from error
    return read_state(made, {"epoch": 0, "step": 0})


def _restored(job: Job) -> KerasModel:
    made = _built(job)
    if job.state is not None:
        write_state(made, State.from_bytes(job.state), optimizers=True)
    return made


def _built(job: Job) -> KerasModel:
    made = KerasModel(job, fresh_process=False)
    if not made.is_static:
        layout = made.layout(job.columns)
        placeholder = layout.placeholder()
        if placeholder is None:
            raise ModelError(
                "the model is built by its first batch, and no batch was seen yet\nFit, evaluate "
                "or predict first, or give its inputs shapes (keras.Input)"
            )
        made.build(layout, placeholder)
    return made
