"""A program of `torch.export` in place of the user's model.

Its graph is text that is evaluated as it is read, and what it holds beside tensors is pickled. So a
file is read only where the user trusts it.
"""

import io
import types
import zipfile
from typing import Any

import torch

from zoo.orca.errors import ModelError, StateError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.torch.saving.whole import ModelFile


class ExportedModel(ModelFile):
    """A file of `torch.export`."""

    __slots__ = ()

    def __call__(self, config: object) -> torch.nn.Module:
        """Return the module, on the CPU."""
        return module_of(read_program(self.data, self.path))


def is_exported(data: bytes) -> bool:
    """Whether a file is an archive of `torch.export`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except zipfile.BadZipFile:
        return False
    return "archive_format" in names


def read_program(data: bytes, path: str) -> torch.export.ExportedProgram:
    """Read what `torch.export.save` wrote; this may run code that the file holds.

    Raises
    ------
    ModelError
        If it cannot be read.
    """
    try:
        return torch.export.load(io.BytesIO(data))
    except Exception as error:  # whatever PyTorch's readers say of a file
        told = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(
            f"{path} cannot be loaded: {told}\n"
            "Write it anew with torch.export.save, by a PyTorch that is no newer than the workers'"
        ) from error


def program_bytes(program: torch.export.ExportedProgram) -> bytes:
    """Return a program as a file."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def check_program(program: torch.export.ExportedProgram, path: str) -> None:
    """Raise `StateError` if a program takes batches of one size alone."""
    shapes = [
        node.meta["val"].shape
        for node in program.graph.nodes
        if node.name in program.graph_signature.user_inputs
        and isinstance(node.meta.get("val"), torch.Tensor)
    ]
    fixed = [shape[0] for shape in shapes if len(shape) and isinstance(shape[0], int)]
    if fixed:
        raise StateError(
            f"{path} was exported for batches of {fixed[0]} rows alone, and predictions come in "
            "batches of any size\nExport it with an open first axis: torch.export.export(model, "
            "args, dynamic_shapes=[{0: torch.export.Dim.DYNAMIC}])"
        )


def module_of(program: torch.export.ExportedProgram) -> torch.nn.Module:
    """Return a program as a module that can be told to train or to evaluate.

    PyTorch's own refuses that, because the graph is the same for both: that of the mode in which it
    was exported.
    """
    module = program.module()
    setattr(module, "train", types.MethodType(_set_mode, module))  # noqa: B010
    setattr(module, "eval", types.MethodType(_evaluating, module))  # noqa: B010
    return module


def _set_mode(self: Any, mode: bool = True) -> Structure:
    self.training = mode
    return self


def _evaluating(self: Any) -> Structure:
    return self.train(False)
