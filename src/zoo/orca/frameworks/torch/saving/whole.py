"""A file of TorchScript in place of the user's model; saved so, a model needs none of its code.

A module that is pickled whole runs code as it is read, so no other file has a model.
"""

import io
import warnings
import zipfile
from dataclasses import dataclass
from typing import Any

import torch

from zoo.orca.errors import ModelError, StateError


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that holds a model; stands for the user's function, and makes the model.

    Parameters
    ----------
    path : str
        Where the file was, for errors.
    data : bytes
    """

    path: str
    data: bytes


class ScriptedModel(ModelFile):
    """A file of TorchScript."""

    __slots__ = ()

    def __call__(self, config: object) -> Any:
        """Return the module, on the CPU."""
        try:
            with warnings.catch_warnings():
                # PyTorch has nothing else that a model is both saved as and trained from.
                warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
                return torch.jit.load(io.BytesIO(self.data), map_location="cpu")
        except RuntimeError as error:
            told = " ".join(str(error).split())[:300]
            raise ModelError(
                f"{self.path} cannot be loaded: {told}\nWrite it anew with save(path, entire=True)"
            ) from error


def is_scripted(data: bytes) -> bool:
    """Whether a file holds TorchScript."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except zipfile.BadZipFile:
        return False
    return "constants.pkl" in names and any(name.startswith("code/") for name in names)


def check_scripted(data: bytes, path: str) -> None:
    """Raise `StateError` unless a file holds a whole model that needs no code of Python."""
    if is_scripted(data):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()  # PyTorch compares no checksums
        if damaged is not None:
            raise StateError(
                f"{path} is damaged: its part {damaged} is not what was written\n"
                "Read another copy of it, or write it anew with save(path, entire=True)"
            )
        return
    # An archive, as PyTorch writes today, or a pickle, as it wrote before.
    if not (zipfile.is_zipfile(io.BytesIO(data)) or data.startswith(b"\x80")):
        raise StateError(
            f"{path} is no file of PyTorch, or a part of one\nName a file of TorchScript, as "
            "save(path, entire=True) writes it, or of torch.export"
        )
    raise StateError(
        f"{path} holds no model that can be made without running code: a module that is "
        "pickled whole runs some, and a state_dict has weights alone\nPass "
        "from_torch(model=...) and load a state_dict, or write TorchScript with "
        "save(path, entire=True)"
    )


def script_bytes(model: torch.nn.Module) -> bytes:
    """Return a module as a file of TorchScript.

    Raises
    ------
    ModelError
        If PyTorch cannot compile it.
    """
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            torch.jit.save(torch.jit.script(model), buffer)
    except Exception as error:  # whatever its compiler says of the user's code
        told = " ".join(str(error).split())[:300]
        raise ModelError(
            f"save(entire=True) writes TorchScript, and PyTorch cannot compile the model: {told}\n"
            "Leave entire out: a path that ends in .pt gets the state_dict"
        ) from error
    return buffer.getvalue()
