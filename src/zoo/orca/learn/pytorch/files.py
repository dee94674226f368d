"""Models and state_dicts in PyTorch's own form, on the driver.

Only a call to one of these imports PyTorch: saving a state, training and predicting need none on
the driver.
"""

from types import ModuleType
from typing import Any

from zoo.orca.errors import MissingPackageError
from zoo.orca.files import read_bytes, write_bytes
from zoo.orca.wire.job import Job
from zoo.orca.wire.packing import State, pack

_ENDINGS = (".pt", ".pth")


def is_torch_path(path: str) -> bool:
    """Whether the ending of `path` names PyTorch's format."""
    return path.endswith(_ENDINGS)


def whole_model(path: str) -> bytes:
    """Return the model in a file of TorchScript, packed for a recipe.

    Raises
    ------
    StateError
        If it is none.
    """
    data = read_bytes(path)
    _driver("load")
    from zoo.orca.frameworks.torch.saving.whole import ScriptedModel, check_scripted

    check_scripted(data, path)
    return pack([ScriptedModel(path, data)], "the model of load")


def holds_model(path: str) -> bool:
    """Whether a file holds TorchScript."""
    _driver("load")
    from zoo.orca.frameworks.torch.saving.whole import is_scripted

    return is_scripted(read_bytes(path))


def is_program(path: str) -> bool:
    """Whether a file is one of `torch.export`."""
    _driver("from_saved")
    from zoo.orca.frameworks.torch.saving.exported import is_exported

    return is_exported(read_bytes(path))


def whole_program(data: bytes, path: str) -> bytes:
    """Return the model in a file of `torch.export`, packed for a recipe; this reads it.

    Raises
    ------
    ModelError, StateError
        If it cannot be read, or takes batches of one size alone.
    """
    _driver("from_saved")
    from zoo.orca.frameworks.torch.saving.exported import (
        ExportedModel,
        check_program,
        read_program,
    )

    check_program(read_program(data, path), path)
    return pack([ExportedModel(path, data)], "the model of from_saved")


def program_bytes(program: Any) -> bytes:
    """Return a program of `torch.export` as a file."""
    from zoo.orca.frameworks.torch.saving.exported import program_bytes

    return program_bytes(program)


def scripted(module: Any) -> bytes:
    """Return a module of TorchScript, packed for a recipe."""
    from zoo.orca.frameworks.torch.saving.whole import ScriptedModel, script_bytes

    return pack([ScriptedModel("the model", script_bytes(module))], "the model of from_saved")


def save_whole(job: Job, path: str) -> None:
    """Write the model with the job's state as TorchScript."""
    model = get_model(job)
    from zoo.orca.frameworks.torch.saving.whole import script_bytes

    write_bytes(path, script_bytes(model))


def save_checkpoint(state: State, path: str) -> None:
    """Write a state in the form of Orca's checkpoints, as `ModelCheckpoint` does."""
    write_bytes(path, _driver("save_checkpoint").checkpoint_bytes(state))


def get_model(job: Job) -> Any:
    """Return the model with the job's state, in this process."""
    return _driver("get_model").restore(job)


def state_dict(state: State) -> dict[str, Any]:
    """Return a state in the form of Orca's checkpoints."""
    found: dict[str, Any] = _driver("get_state_dict").checkpoint_of(state)
    return found


def save_weights(state: State, path: str) -> None:
    """Write the model's state_dict."""
    write_bytes(path, _driver("save").weights_bytes(state))


def load(path: str) -> State:
    """Read a state_dict, or a checkpoint of `ModelCheckpoint`."""
    state: State = _driver("load").read_checkpoint(read_bytes(path), path)
    return state


def _driver(what: str) -> ModuleType:
    try:
        from zoo.orca.frameworks.torch.saving import files as torch_driver
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{what} needs PyTorch on the driver, and {error.name!r} is not installed here\n"
            "Install it: pip install 'zoo-orca[torch]'"
        ) from error
    return torch_driver
