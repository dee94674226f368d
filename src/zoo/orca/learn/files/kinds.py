"""Tells by ending, else by first bytes, whose file lies at a path."""

from zoo.orca.files import is_directory, is_regular, list_names, read_head

#: Of a directory that TensorFlow writes, and of the prefix of its files of weights.
SAVED_MODEL, CHECKPOINT = "SavedModel", "checkpoint"
#: A file that `torch.save` or TorchScript wrote, whatever its ending.
TORCH = ".pt"
#: An estimator's own state.
STATE = "state"

_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_HEAD = 8


def keras_kind(path: str) -> str:
    """Return ".keras", ".h5", `SAVED_MODEL`, `CHECKPOINT` or `STATE`.

    A path that does not exist is a state's: reading it says that there is none.
    """
    for ending in (".keras", ".h5"):
        if path.endswith(ending):
            return ending
    if is_directory(path) and "saved_model.pb" in list_names(path):
        return SAVED_MODEL
    if not is_regular(path):
        return CHECKPOINT if is_regular(f"{path}.index") else STATE
    head = read_head(path, _HEAD)
    if head == _HDF5:
        return ".h5"
    return ".keras" if head.startswith(_ZIP) else STATE


def torch_kind(path: str) -> str:
    """Return `TORCH` or `STATE`."""
    if path.endswith((".pt", ".pth", ".pt2")):
        return TORCH
    is_zip = is_regular(path) and read_head(path, _HEAD).startswith(_ZIP)
    return TORCH if is_zip else STATE
