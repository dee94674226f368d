"""Spark's daemon of Python workers, which imports the installed pyspark instead of its zip.

Spark puts a zip of pyspark's sources first on the daemon's path. Python compiles them anew whenever
it imports them, which takes longer than all else until a first worker runs. If pyspark is
installed as a package, the zip lies within it, and the package itself, compiled, is the same code.
"""

import sys
from collections.abc import Sequence
from pathlib import Path


def installed_first(paths: Sequence[str]) -> list[str]:
    """Return a search path on which the zips of an installed pyspark come last."""
    zips = [path for path in paths if _is_installed_beside(path, paths)]
    return [*(path for path in paths if path not in zips), *zips]


def _is_installed_beside(path: str, paths: Sequence[str]) -> bool:
    """Whether a path is a zip of Spark's that lies within a package of the same search path."""
    file = Path(path)
    if file.suffix != ".zip" or file.parts[-4:-1] != ("pyspark", "python", "lib"):
        return False
    return str(file.parents[3]) in paths and (file.parents[2] / "daemon.py").is_file()


if __name__ == "__main__":
    sys.path[:] = installed_first(sys.path)
    from pyspark.daemon import manager

    manager()
