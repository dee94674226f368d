"""Where a child looks for modules: the task's directories first, the user's own last.

Python looks in a script's directory first. A child looks there last: a framework that imports a
package must not get a user's ``random.py`` or ``six.py`` instead.
"""

import os
import site
import sys
import sysconfig
from collections.abc import Collection, Sequence

#: The variable with the directories that a child searches last.
LAST_PATHS = "ZOO_ORCA_LAST_PATHS"


def search_paths(
    paths: Sequence[str], root: str, own: Collection[str]
) -> tuple[list[str], list[str]]:
    """Return the directories that a child searches before, and after, the installed packages.

    Parameters
    ----------
    paths : sequence of str
        ``sys.path`` of the task.
    root : str
        The directory of this package.
    own : collection of str
        The program's own directories: its script's, and the current one, where ``python -m`` looks
        first.
    """
    installed = _installed()
    places = [place for place in range(len(paths)) if paths[place] in installed]
    ends = min(places, default=len(paths))
    # Files that came with the job, and directories on PYTHONPATH, may replace a package.
    first = [path for path in paths[:ends] if path and path not in own]
    last = [path for path in (*paths[:ends], *paths[ends:]) if path not in (*first, *installed)]
    ahead = [] if root in installed else [root]
    return _once([*ahead, *first]), _once([path for path in last if path])


def own_paths() -> list[str]:
    """Return where this program looks for modules, other than installed packages."""
    installed = _installed()
    here = os.getcwd()
    return _once([os.path.join(here, path) for path in sys.path if path not in installed])


def add_last_paths() -> None:
    """Search the directories that the task has named after all others."""
    given = os.environ.get(LAST_PATHS, "").split(os.pathsep)
    sys.path.extend(path for path in given if path and path not in sys.path)


def _installed() -> set[str]:
    """Return the directories that every process of this Python searches by default."""
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
