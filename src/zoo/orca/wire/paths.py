"""Where a child looks for modules: what the task has, the user's own directories behind it all.

A script's directory is the first place where Python looks. In a child it is the last: a user's
``random.py`` or ``six.py`` must not be what a framework gets that imports a package of that name.
"""

import os
import site
import sys
import sysconfig
from collections.abc import Collection, Sequence

#: The variable with the directories that a child looks through at the very end.
LAST_PATHS = "ZOO_ORCA_LAST_PATHS"


def search_paths(
    paths: Sequence[str], root: str, own: Collection[str]
) -> tuple[list[str], list[str]]:
    """Return what a child finds modules in before, and behind, what is installed.

    Parameters
    ----------
    paths : sequence of str
        ``sys.path`` of the task.
    root : str
        Where this package lies.
    own : collection of str
        The program's own directories: where it lies, and the current one, in which ``python -m``
        looks first.
    """
    installed = _installed()
    places = [place for place in range(len(paths)) if paths[place] in installed]
    ends = min(places, default=len(paths))
    # What was shipped with the job, and what else PYTHONPATH names, may replace a package.
    first = [path for path in paths[:ends] if path and path not in own]
    last = [path for path in (*paths[:ends], *paths[ends:]) if path not in (*first, *installed)]
    ahead = [] if root in installed else [root]
    return _once([*ahead, *first]), _once([path for path in last if path])


def own_paths() -> list[str]:
    """Return where this program looks for modules beside those that are installed."""
    installed = _installed()
    here = os.getcwd()
    return _once([os.path.join(here, path) for path in sys.path if path not in installed])


def add_last_paths() -> None:
    """Look in the directories that the task has named, once all others were looked through."""
    given = os.environ.get(LAST_PATHS, "").split(os.pathsep)
    sys.path.extend(path for path in given if path and path not in sys.path)


def _installed() -> set[str]:
    """Return the directories in which every process of this Python looks by itself."""
    paths = sysconfig.get_paths()
    stdlib = {paths["stdlib"], paths["platstdlib"]}
    archive = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
    return {
        *stdlib,
        *(os.path.join(path, "lib-dynload") for path in stdlib),
        *(os.path.join(os.path.dirname(path), archive) for path in stdlib),
        *(paths["purelib"], paths["platlib"], site.getusersitepackages()),
        *site.getsitepackages(),
    }


def _once(paths: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(paths))
