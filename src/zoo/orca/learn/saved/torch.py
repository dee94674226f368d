"""Estimators of PyTorch models that are there already: `from_saved`."""

import os
import sys
from typing import Any, Self

from zoo.orca.errors import InvalidInputError, StateError
from zoo.orca.files import read_bytes
from zoo.orca.learn.pytorch import files
from zoo.orca.learn.pytorch.creation import FromTorch
from zoo.orca.learn.pytorch.recipe import packed


class FromSavedTorch(FromTorch):
    """An estimator that is made of a model, or of a file of one."""

    @classmethod
    def from_saved(cls, model: Any, *, safe_mode: bool = True, **options: Any) -> Self:
        """Return an estimator for a model that is there already, trained or not.

        It predicts; with `loss` it evaluates, and with `optimizer`, too, it goes on training.

        Parameters
        ----------
        model : str, path, torch.nn.Module or torch.export.ExportedProgram
            A local path or URL of a file of TorchScript, or of `torch.export` (``.pt2``); or a
            module or program, which goes to the workers as it is now. A file of `torch.save` holds
            weights, or runs code as it is read: make the module, and load the weights into it.
        safe_mode : bool
            False reads a ``.pt2`` file, which may run code of who wrote it.
        **options : object
            As in `from_torch`, for example `optimizer`, `loss` and `num_workers`.

        Raises
        ------
        StateError
            If the file cannot be read, holds no model that can be made without running code, or one
            for batches of one size alone.
        InvalidInputError
            If `model` is none.
        """
        if _is_of("torch.nn.Module", model) and not _is_of("torch.jit.ScriptModule", model):
            return cls.from_torch(model=model, **options)
        est = cls.from_torch(**options)
        if isinstance(model, (str, os.PathLike)):
            path = os.fspath(model)
            if not files.is_program(path):
                est.load(path)
                return est
            if safe_mode:
                raise StateError(
                    f"{path} is a file of torch.export, which may run code as it is read\n"
                    "If you trust who wrote the file, pass from_saved(path, safe_mode=False)"
                )
            whole = files.whole_program(read_bytes(path), path)
        elif _is_of("torch.export.ExportedProgram", model):
            whole = files.whole_program(files.program_bytes(model), "the program")
        elif _is_of("torch.jit.ScriptModule", model):
            whole = files.scripted(model)
        else:
            kind = f"{type(model).__module__}.{type(model).__qualname__}"
            raise InvalidInputError(
                f"model must be a path or a torch.nn.Module, got {kind.removeprefix('builtins.')}\n"
                "Pass the path of a file of TorchScript, or a module; a function that makes one "
                "goes to from_torch(model=...)"
            )
        est._use_whole(whole)
        return est

    def _use_whole(self, whole: bytes) -> None:
        """Go on with a model that is a file."""
        if self._parts["sync_batch_norm"]:
            raise InvalidInputError(
                "the model is a graph, which hides its batch normalisation, so that "
                "sync_batch_norm=True could not reach it\nLeave sync_batch_norm out, or pass "
                "from_torch(model=...)"
            )
        self._parts = {**self._parts, "model": whole}
        self._use_creator(packed(self._parts))
        self._insists = False


def _is_of(name: str, value: Any) -> bool:
    """Whether a value is of a class of PyTorch's; imports nothing to find out."""
    found: Any = sys.modules.get("torch")
    for part in name.split(".")[1:]:
        found = getattr(found, part, None)
    return isinstance(found, type) and isinstance(value, found)
