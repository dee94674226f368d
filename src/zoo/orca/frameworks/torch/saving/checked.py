"""What PyTorch's reader took from a file of any origin, before it is copied or walked through."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import torch

from zoo.orca.wire.saved.values import Unsound

#: Levels of lists and dicts; each becomes up to three of the state's header.
_MOST_LEVELS = 30
#: How much more than the file its tensors may weigh: several names may share one tensor.
_MOST_TIMES, _MOST_BYTES = 16, 1 << 26
#: How many values there may be, beside as many as the file has bytes: one may be named repeatedly.
_MOST_VALUES = 100_000


def refuse_odd_archive(data: bytes) -> None:
    """Refuse an archive whose content is larger than the file: PyTorch never compresses."""
    if not data.startswith(b"PK"):
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for one in archive.infolist():
            if one.compress_type != zipfile.ZIP_STORED or one.file_size > len(data):
                raise Unsound("is compressed, as torch.save writes no file")


def check_values(found: object, nbytes: int) -> None:
    """Refuse what cannot be turned into a state in about the memory that the file takes.

    A pickle may name one value many times, even inside itself. So values are counted as often as
    they are named, level by level.

    Parameters
    ----------
    found : object
        What `torch.load` returned.
    nbytes : int
        The size of the file.

    Raises
    ------
    Unsound
    """
    values = weight = level = 0
    storages: dict[int, int] = {}
    here: list[Any] = [found]
    while here:
        values += len(here)
        if level > _MOST_LEVELS or values > _MOST_VALUES + nbytes:
            raise Unsound("is nested too deeply, or holds itself")
        below: list[Any] = []
        for one in here:
            if isinstance(one, torch.Tensor):
                _check_tensor(one)
                weight += one.numel() * one.element_size()
                storage = one.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
            elif isinstance(one, Mapping):
                below.extend(one.keys())
                below.extend(one.values())
            elif isinstance(one, (list, tuple)):
                below.extend(one)
            if len(below) > _MOST_VALUES + nbytes:
                raise Unsound("is nested too deeply, or holds itself")
        level, here = level + 1, below
    if weight > _MOST_TIMES * nbytes + _MOST_BYTES or sum(storages.values()) > nbytes:
        raise Unsound("has tensors that weigh more than the file")


def _check_tensor(tensor: torch.Tensor) -> None:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        kind = f"{tensor.layout} on {tensor.device.type}"
        raise Unsound(f"has a tensor that is no plain one: {kind}")
