"""What the driver knows of a running `fit`'s checkpoints: their names, as workers write them."""

import contextlib
import re

from zoo.orca.files import list_names

#: The epochs that are done and, within an epoch, its steps.
_NAME = re.compile(r"(\d+)(?:-\d+)?\.state")


def epochs_saved(directory: str) -> int:
    """Return the epochs that are done in the newest checkpoint; -1 if none is seen.

    Nothing is seen, either, while the file system does not answer: then the workers find it.

    Parameters
    ----------
    directory : str
        May be empty, or not exist.
    """
    if not directory:
        return -1
    with contextlib.suppress(OSError):
        found = (_NAME.fullmatch(name) for name in list_names(directory))
        return max((int(one[1]) for one in found if one), default=-1)
    return -1
