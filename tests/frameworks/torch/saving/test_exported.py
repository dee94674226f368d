"""Programs of `torch.export`: modules as before, for any number of rows, that go on training."""

import io
import zipfile
from typing import Any

import pytest
import torch
from torch import nn

from zoo.orca.errors import ModelError, StateError
from zoo.orca.frameworks.torch.saving.exported import (
    ExportedModel,
    check_program,
    is_exported,
    program_bytes,
)
from zoo.orca.frameworks.torch.saving.whole import script_bytes

pytestmark = pytest.mark.timeout(120)

X, Y = torch.randn(12, 3), torch.randn(12, 5)
OPEN = {0: torch.export.Dim.DYNAMIC}


class Two(nn.Module):
    """Takes two inputs and has a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(5, 4)
        self.register_buffer("shift", torch.ones(4))

    def forward(self, x: Any, y: Any) -> Any:
        return torch.relu(self.left(x)) + self.right(y) + self.shift


def exported(shapes: Any = (OPEN, OPEN)) -> tuple[nn.Module, torch.export.ExportedProgram]:
    torch.manual_seed(0)
    model = Two()
    return model, torch.export.export(model, (X, Y), dynamic_shapes=shapes)


def test_a_program_is_the_module_that_it_was_made_of() -> None:
    model, program = exported()
    data = program_bytes(program)
    assert is_exported(data)
    check_program(program, "m.pt2")
    made = ExportedModel("m.pt2", data)({})
    assert made.state_dict().keys() == model.state_dict().keys()
    for rows in (1, 2, 3, 12):
        torch.testing.assert_close(made(X[:rows], Y[:rows]), model(X[:rows], Y[:rows]))
    assert made.eval() is made and not made.training
    assert made.train() is made and made.training


def test_it_goes_on_training_as_the_module_does() -> None:
    model, program = exported()
    made = ExportedModel("m.pt2", program_bytes(program))({})
    for one in (model, made):
        optimizer = torch.optim.Adam(one.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            one(X, Y).square().mean().backward()
            optimizer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], value)


def test_one_size_of_batches_is_refused_with_the_way_out() -> None:
    _, program = exported(None)
    with pytest.raises(StateError, match="for batches of 12 rows alone") as caught:
        check_program(program, "m.pt2")
    way = str(caught.value).split("args, ")[1].removesuffix(")")
    again = torch.export.export(nn.Linear(3, 1), (X,), **eval(f"dict({way})", {"torch": torch}))
    check_program(again, "m.pt2")


def test_other_files_are_none() -> None:
    assert not is_exported(b"") and not is_exported(b"PK\x03\x04")
    assert not is_exported(script_bytes(nn.Linear(3, 1)))
    state = io.BytesIO()
    torch.save(nn.Linear(3, 1).state_dict(), state)
    assert not is_exported(state.getvalue())


def test_a_damaged_file_is_told() -> None:
    data = io.BytesIO(program_bytes(exported()[1]))
    broken = io.BytesIO()
    with zipfile.ZipFile(data) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            target.writestr(name, b"{" if name.endswith(".json") else source.read(name))
    with pytest.raises(ModelError, match=r"m\.pt2 cannot be loaded"):
        ExportedModel("m.pt2", broken.getvalue())({})
