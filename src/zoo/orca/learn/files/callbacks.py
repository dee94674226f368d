"""Where callbacks write: a relative path means the program's directory, not a worker's."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.orca.files import whole_path

#: The attribute that holds the path, by the name of the class that writes there.
_PATHS = {
    "ModelCheckpoint": "filepath",
    "TensorBoard": "log_dir",
    "TensorBoardCallback": "log_dir",
    "CSVLogger": "filename",
}


def with_whole_paths(callbacks: Sequence[Any]) -> list[Any]:
    """Return the callbacks, those with a relative path as copies with an absolute one."""
    return [_with_whole_path(one) for one in callbacks]


def _with_whole_path(callback: Any) -> Any:
    names = {kind.__name__ for kind in type(callback).__mro__}
    for name, attribute in _PATHS.items():
        path = getattr(callback, attribute, None) if name in names else None
        if isinstance(path, (str, Path)) and str(path):
            whole = whole_path(path)
            if whole != str(path):
                callback = copy.copy(callback)
                setattr(callback, attribute, whole)
    return callback
