"""The newest checkpoint of a directory: what the original calls `latest_checkpoint`."""

import re

from zoo.orca.errors import InvalidInputError
from zoo.orca.files import changed_at, is_directory, list_names

_ENDINGS = (".keras", ".h5", ".pt", ".pth", ".ckpt", ".safetensors")
_INDEX = ".index"


def latest_checkpoint(checkpoint_dir: str) -> str:
    """Return the path of the newest file that `load` or `load_weights` takes.

    Those are states, files of Keras and PyTorch, TensorFlow's checkpoints and SavedModels. Of files
    of one moment, the one with the largest numbers in its name is the newest.

    Parameters
    ----------
    checkpoint_dir : str
        A local directory or a URL.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    directory = str(checkpoint_dir).rstrip("/")
    found = [
        (changed_at(f"{directory}/{name}"), _numbers(path), f"{directory}/{path}")
        for name in list_names(directory)
        if (path := _loadable(directory, name))
    ]
    if not found:
        raise InvalidInputError(
            f"there is no checkpoint in {directory}\nName the directory that the files of "
            "ModelCheckpoint, save or save_weights are in"
        )
    return max(found)[-1]


def _loadable(directory: str, name: str) -> str:
    """Return the name that `load` takes for a file or directory; empty if it takes none."""
    if name.endswith(_INDEX):
        return name.removesuffix(_INDEX)
    if name.endswith(_ENDINGS) and not name.startswith("."):
        return name
    path = f"{directory}/{name}"
    return name if is_directory(path) and "saved_model.pb" in list_names(path) else ""


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]
