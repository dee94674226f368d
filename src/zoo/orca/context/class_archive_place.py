"""Whether a directory is worth an archive of classes: later programs must find it there.

An archive costs a minute of a processor and 200 MB. They are wasted if the directory goes with the
machine: in continuous integration, in most containers, on a file system in memory.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: Free bytes of the disk below which nothing is written.
_NEEDED_BYTES: Final = 1_000_000_000
_CONTAINER_FILES: Final = ("/.dockerenv", "/run/.containerenv")
_CONTAINER_VARIABLES: Final = ("KUBERNETES_SERVICE_HOST", "container")
#: File systems that do not outlive their container or machine.
_PASSING: Final = {"overlay", "aufs", "tmpfs", "ramfs", "rootfs"}
# Tests replace this root.
_ROOT = Path("/")


def reason_against(directory: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return why no archive is to be made in a directory; an empty string if one is.

    Parameters
    ----------
    directory : Path
        Where it would lie. It need not exist.
    environ : Mapping
        The environment that shows continuous integration and Kubernetes.
    """
    if environ.get("CI", "").lower() not in ("", "0", "false"):
        return "CI is set in the environment"
    place = directory.resolve()
    mount, kind = _mount_of(place)
    if kind in _PASSING:
        return f"{place} lies on {kind}, which does not last"
    # A volume has its own mount point. All else, on any file system, belongs to the container.
    if mount in ("", "/") and _in_container(environ):
        return f"{place} is a container's own, which does not last"
    while not place.exists():
        place = place.parent
    if shutil.disk_usage(place).free < _NEEDED_BYTES:
        return f"the disk of {place} has less than 1 GB free"
    return ""


def _in_container(environ: Mapping[str, str]) -> bool:
    """Whether this machine shows signs of a container."""
    files = (_ROOT / name.lstrip("/") for name in _CONTAINER_FILES)
    return any(environ.get(name) for name in _CONTAINER_VARIABLES) or any(
        file.exists() for file in files
    )


def _mount_of(place: Path) -> tuple[str, str]:
    """Return where the file system of a path is mounted, and its kind; empty if unknown."""
    try:
        lines = (_ROOT / "proc/self/mountinfo").read_text().splitlines()
    except OSError:  # not Linux
        return "", ""
    found = ("", "")
    for line in lines:
        # See proc(5): the mount point is the fifth field, the kind the first one after the dash.
        fields, _, behind = line.partition(" - ")
        mount = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields.split()[4])
        # Of two mounts on one point, the later hides the earlier.
        if place.is_relative_to(mount) and len(mount) >= len(found[0]):
            found = mount, behind.split()[0]
    return found
