"""Keras's files are looked through before Keras reads them, for what its reader would trust.

An archive may be much larger than its file, and so may an array of HDF5, whose numbers need not be
there. A link of HDF5 may lead to another file of this machine.
"""

import io
import os
import zipfile
from typing import IO, Any

from zoo.orca.wire.saved.values import Unsound, as_object, parse

#: How much more than the file its content may weigh.
_MOST_TIMES, _MOST_BYTES = 16, 1 << 26
_WEIGHTS, _CONFIG = "model.weights.h5", "config.json"


def check_file(path: str) -> None:
    """Check the structure of a .keras or .h5 file.

    Raises
    ------
    Unsound
        If it is not as Keras writes one. Zip and HDF5 have errors of their own, too.
    """
    most = _MOST_TIMES * os.path.getsize(path) + _MOST_BYTES
    if not path.endswith(".keras"):
        with open(path, "rb") as stream:
            _check_h5(stream, most)
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [one.filename for one in members]
        if len(set(names)) < len(names) or not {_WEIGHTS, _CONFIG} <= set(names):
            raise Unsound(f"does not have {_WEIGHTS} and {_CONFIG} once each")
        if sum(one.file_size for one in members) > most:
            raise Unsound("is much larger inside than the file")
        _check_h5(io.BytesIO(archive.read(_WEIGHTS)), most)


def config_of(path: str) -> dict[str, Any]:
    """Return the optimizer's configuration in a .keras or .h5 file; empty if it has none."""
    if path.endswith(".keras"):
        with zipfile.ZipFile(path) as archive:
            outer = parse(archive.read(_CONFIG))
        as_object(outer)
        compiled, key = outer.get("compile_config") or {}, "optimizer"
    else:
        import h5py

        with h5py.File(path, "r") as file:
            compiled, key = parse(file.attrs.get("training_config", "{}")), "optimizer_config"
    as_object(compiled)
    found = compiled.get(key)
    return found if isinstance(found, dict) else {}


def _check_h5(stream: IO[bytes], most: int) -> None:
    """Check that a file of HDF5 has groups and arrays alone, which fit into `most` bytes."""
    import h5py

    weight = 0
    with h5py.File(stream, "r") as file:
        # By address: a group may be inside itself.
        left, seen = [file["/"]], set()
        while left:
            group = left.pop()
            address = h5py.h5o.get_info(group.id).addr
            if address in seen:
                continue
            seen.add(address)
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise Unsound("is a link, which Keras never writes", str(name)[:50])
                found = group[name]
                if isinstance(found, h5py.Group):
                    left.append(found)
                elif not isinstance(found, h5py.Dataset):
                    raise Unsound("is no array", str(name)[:50])
                elif found.is_virtual or found.external:
                    raise Unsound("lies in another file", str(name)[:50])
                else:
                    weight += int(found.size or 0) * found.dtype.itemsize
    if weight > most:
        raise Unsound("has arrays that weigh much more than the file")
