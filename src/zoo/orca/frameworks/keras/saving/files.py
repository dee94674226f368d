"""Keras models in the caller's own process: `get_model`, and Keras's own file formats.

Unlike a job in a child, this code resets nothing in the process: its seeds, policies and other
models belong to the caller.
"""

import warnings
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zipfile import BadZipFile

from zoo.orca.errors import ModelError, StateError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.saving.archives import read_h5_optimizer, read_rate
from zoo.orca.frameworks.keras.saving.checked import check_file
from zoo.orca.frameworks.keras.saving.state import read_state, write_state
from zoo.orca.wire.job import Job
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.values import Unsound


def restore(job: Job, sample_input: Structure = None) -> Any:
    """Return the model of `job`, built, with the job's state if there is one.

    `sample_input` builds a model that is built by its first batch.
    """
    return _restored(job, sample_input).model


def save_model(job: Job, path: str, options: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Write the model in the format of `path`'s ending, without one as a SavedModel."""
    kind = {} if path.endswith((".keras", ".h5")) else {"save_format": "tf"}
    with warnings.catch_warnings():
        # A user who names a path .h5 has chosen Keras's legacy format.
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file", UserWarning)
        model = _restored(job).model
        if "include_optimizer" in options and path.endswith(".keras"):
            options = dict(options)
            if not options.pop("include_optimizer"):
                any_model: Any = model
                any_model.optimizer = None
        model.save(path, **kind, **options)


def save_weights(job: Job, path: str) -> None:
    """Write only the weights, in Keras's format; Keras 2 without an ending in TensorFlow's."""
    _restored(job).model.save_weights(path)


def state_of_whole(job: Job, creator: bytes, path: str) -> State:
    """Return the state of `job`'s model with the values of another, made by `creator`.

    Raises
    ------
    StateError
        If its weights do not fit the model's.
    """
    made = _built(job)
    spec = replace(job.model, creator=creator, compile_args=None)
    other = KerasModel(replace(job, model=spec), fresh_process=False)
    state = read_state(other, {"epoch": 0, "step": 0})
    compiled = made.keras.is_compiled(made.model) and made.model.optimizer is not None
    try:
        write_state(made, state, optimizers=compiled)
    except StateError as error:
        raise StateError(f"{path} does not hold weights of this model: {error}") from error
    return read_state(made, {"epoch": 0, "step": 0})


def load_weights(
    job: Job, path: str, kind: str | None = None, *, whole: bool = False, by_name: bool = False
) -> State:
    """Return the state of a model with the weights of a .keras or .h5 file, or a checkpoint.

    From a .keras or .weights.h5 file or a checkpoint of TensorFlow, the optimizer's variables are
    read too, if it has them. Nothing in a file is executed.

    Parameters
    ----------
    job : Job
    path : str
    kind : str, optional
        ".keras", ".h5"; anything else is the prefix of a checkpoint's files. By default the ending.
    whole : bool
        Whether to read an .h5 file as a whole model, with the optimizer's variables.
    by_name : bool
        Whether the layers of an .h5 file go to those of their names; others keep their weights.

    Raises
    ------
    StateError
        If the file is not Keras's, or its weights do not fit the model.
    """
    made = _built(job)
    kind = kind if kind is not None else Path(path).suffix
    whole = kind == ".keras" or (whole and kind == ".h5" and not path.endswith(".weights.h5"))
    compiled = made.keras.is_compiled(made.model) and made.model.optimizer is not None
    if compiled and (whole or path.endswith(".weights.h5") or kind not in (".keras", ".h5")):
        # Such a file may hold the optimizer's variables, which need a place to go to.
        made.keras.build_optimizer(made.model.optimizer, made.trainable_variables)
    try:
        if kind in (".keras", ".h5"):
            check_file(path)
            made.model.load_weights(path, **({"by_name": True} if by_name else {}))
        else:
            _read_checkpoint(made, path)
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


def _read_checkpoint(made: KerasModel, prefix: str) -> None:
    """Read a checkpoint of TensorFlow, which must have each of the model's weights."""
    model: Any = made.model
    status = model.load_weights(prefix)
    read = status._checkpoint.object_by_proto_id.values()
    found = {id(one) for one in read}
    for weight in made.weights:
        if id(weight) not in found:
            raise Unsound("is not in the checkpoint", made.keras.name_of(weight))
    status.expect_partial()


def _restored(job: Job, sample_input: Structure = None) -> KerasModel:
    made = _built(job, sample_input)
    if job.state is not None:
        write_state(made, State.from_bytes(job.state), optimizers=True)
    return made


def _built(job: Job, sample_input: Structure = None) -> KerasModel:
    made = KerasModel(job, fresh_process=False)
    if sample_input is not None:
        made.model(sample_input)
    elif not made.is_static:
        layout = made.layout(job.columns)
        placeholder = layout.placeholder()
        if placeholder is None:
            raise ModelError(
                "the model is built by its first batch, and no batch was seen yet\nFit, evaluate "
                "or predict first, or give its inputs shapes (keras.Input)"
            )
        made.build(layout, placeholder)
    return made
