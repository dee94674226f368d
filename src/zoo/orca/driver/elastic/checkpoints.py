"""What the driver knows of a running `fit`'s checkpoints: their names, as workers write them."""

import contextlib

from zoo.orca.files import list_names
from zoo.orca.wire.checkpoints import checkpoints_in, epochs_of


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
        found = checkpoints_in(list_names(directory))
        return epochs_of(found[-1]) if found else -1
    return -1
