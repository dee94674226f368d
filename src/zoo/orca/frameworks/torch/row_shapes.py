"""The shape of one row of each output, which a step of one row does not show.

``squeeze()`` drops the row axis along with all other axes of length one. So a model with it returns
(3) for one row, but (n, 3) for n. How rows are batched must not matter. So the shapes are learnt
from a batch of two, and a single row's outputs get their axis back.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure

#: Rows in the sample.
SAMPLE_ROWS = 2
Path = tuple[Any, ...]


class RowShapes:
    """The shapes of a model's result for one row.

    Parameters
    ----------
    output : object
        The result for two rows.
    """

    def __init__(self, output: Structure) -> None:
        self._shapes = {
            path: tuple(tensor.shape[1:])
            for path, tensor in _tensors(output, ())
            if tensor.dim() and tensor.shape[0] == SAMPLE_ROWS
        }

    def of_one_row(self, output: Structure) -> Structure:
        """Return a model's result for one row, with an axis for it.

        Outputs that are not by rows, or not in the sample, stay unchanged.

        Raises
        ------
        ModelError
            If an output lacks the axis and is not one row's either.
        """
        return self._fixed(output, ())

    def _fixed(self, value: Structure, path: Path) -> Structure:
        if isinstance(value, torch.Tensor):
            return self._with_axis(value, path)
        if isinstance(value, Mapping):
            found = {key: self._fixed(one, (*path, key)) for key, one in value.items()}
            if all(found[key] is one for key, one in value.items()):
                return value
            made: Any = copy.copy(value)
            for key, one in found.items():
                made[key] = one
            return made
        if isinstance(value, (list, tuple)):
            members = [self._fixed(one, (*path, k)) for k, one in enumerate(value)]
            if all(new is old for new, old in zip(members, value, strict=True)):
                return value
            return type(value)(*members) if hasattr(value, "_fields") else type(value)(members)
        return value

    def _with_axis(self, tensor: torch.Tensor, path: Path) -> torch.Tensor:
        row = self._shapes.get(path)
        if row is None or tensor.dim() == 1 + len(row):
            return tensor
        if tensor.numel() != math.prod(row):
            name = "output" + "".join(f"[{key!r}]" for key in path)
            raise ModelError(
                f"the model's {name} is of shape {tuple(tensor.shape)} for one row, and of shape "
                f"{(SAMPLE_ROWS, *row)} for {SAMPLE_ROWS}\n"
                "Let forward keep the first axis for any number of rows: squeeze(-1) in place of "
                "squeeze(), and reshape(len(x), ...) in place of reshape(-1, ...)"
            )
        return tensor.reshape(1, *row)


def _tensors(value: Structure, path: Path) -> Iterator[tuple[Path, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _tensors(one, (*path, key))
    elif isinstance(value, (list, tuple)):
        for number, one in enumerate(value):
            yield from _tensors(one, (*path, number))
