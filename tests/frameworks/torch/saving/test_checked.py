"""PyTorch's files from anywhere: what may be read, and that nothing is executed."""

import io
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.wire.saved.samples import damaged
from tests.wire.saved.samples import torch as sample
from zoo.orca.errors import StateError
from zoo.orca.frameworks.torch.saving.files import checkpoint_of, read_checkpoint
from zoo.orca.frameworks.torch.saving.state import write_training
from zoo.orca.wire.packing import State

pytestmark = pytest.mark.timeout(120)


def file_of(value: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def refused(data: bytes) -> str:
    """The error's first line, or nothing; anything but `StateError` fails the test."""
    try:
        state = read_checkpoint(data, "dir/model.pt")
    except StateError as error:
        first, second = str(error).splitlines()
        assert first.startswith("dir/model.pt does not hold a state_dict of PyTorch: ") and second
        return first
    state.to_bytes()
    checkpoint_of(state)  # decodes all that is coded
    return ""


def checkpoint() -> dict:
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    return {
        "epoch": 1,
        "step": 2,
        "models": [model.state_dict()],
        "optimizers": [optimizer.state_dict()],
        "schedulers": [schedule.state_dict()],
        "made": {
            "optimizers": [
                {"class": "Adam", "parameters": [["weight", "bias"]], "rates": [0.1]},
            ],
            "schedulers": ["ExponentialLR"],
        },
    }


def test_sound_files_are_read() -> None:
    assert not refused(file_of(checkpoint()))
    assert not refused(file_of(torch.nn.Linear(2, 3).state_dict()))
    assert not refused(file_of(checkpoint_of(sample())))
    shared = torch.ones(5)
    assert not refused(file_of({"a": shared, "b": shared, "c": shared[1:].expand(3, 4)}))
    assert not refused(file_of(checkpoint(), _use_new_zipfile_serialization=False))


@settings(max_examples=100)
@given(st.integers(0, 1 << 32), st.booleans())
@example(29685, True)  # PyTorch quotes a byte that ends a line
def test_files_that_were_damaged(seed: int, is_zip: bool) -> None:
    chance = random.Random(seed)
    data = file_of(checkpoint(), _use_new_zipfile_serialization=is_zip)
    for _ in range(10):
        refused(damaged(data, chance))


OTHERS = [None, True, -1, 1 << 70, float("nan"), "x", b"x", [], {}, [None], torch.ones(2), {1: 2}]


@settings(max_examples=100)
@given(st.integers(0, 1 << 32))
def test_checkpoints_with_something_else_in_them(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        found = checkpoint()
        # Down to a random place, whose value is another one then.
        here, key = found, chance.choice(list(found))
        while isinstance(here[key], (dict, list)) and len(here[key]) and chance.random() < 0.8:
            here = here[key]
            key = chance.choice(list(here) if isinstance(here, dict) else range(len(here)))
        here[key] = chance.choice(OTHERS)
        refused(file_of(found))


def laughs() -> list:
    """Two to the power of 60 values in 60 lists."""
    found: list = [1]
    for _ in range(60):
        found = [found, found]
    return found


def often() -> list:
    """A hundred million values of one that is saved."""
    return [[[1] * 1000] * 1000] * 100


def inside_itself() -> list:
    found: list = []
    found.append(found)
    return found


def deep(levels: int) -> list:
    found: list = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize("make", [laughs, inside_itself, lambda: deep(40), often])
def test_what_would_never_end(make) -> None:
    rest = {"models": [{}], "optimizers": [{"param_groups": [], "x": make()}]}
    assert "nested too deeply, or holds itself" in refused(file_of(rest))


def test_a_tensor_that_weighs_more_than_the_file() -> None:
    """Four terabytes of which one number is there."""
    large = torch.zeros(1).expand(1 << 20, 1 << 20)
    assert "weigh more than the file" in refused(file_of({"w": large}))


def test_a_compressed_archive() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file_of({"w": torch.zeros(1 << 20)}))) as plain:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in plain.namelist():
                archive.writestr(name, plain.read(name))
    assert len(packed.getvalue()) < 1 << 16
    assert "compressed" in refused(packed.getvalue())


@pytest.mark.parametrize("value", [torch.ones(2, 2).to_sparse(), torch.ones(2, device="meta")])
def test_tensors_of_other_kinds(value: torch.Tensor) -> None:
    assert "no plain one" in refused(file_of({"w": value}))


class Runs:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    made = tmp_path / "made"
    value = {"w": Runs(made)}
    files = [file_of(value), file_of(value, _use_new_zipfile_serialization=False)]
    for data in (*files, pickle.dumps(value), pickle.dumps(Runs(made))):
        assert refused(data)
        assert not made.exists()
    pickle.loads(pickle.dumps(Runs(made)))
    assert made.exists()  # had it been


@pytest.mark.parametrize(
    ("what", "value", "told"),
    [
        ("schedulers", {"step": 3}, "ValueError: it has a value 'step', which is a method"),
        ("optimizers", {"param_groups": [{"params": [0, 1]}], "state": 3}, "AttributeError: "),
        ("optimizers", {"param_groups": [{"params": [0]}], "state": {}}, "ValueError: "),
    ],
)
def test_what_fits_no_optimizer_is_said_in_fit(what: str, value: dict, told: str) -> None:
    optimizer = torch.optim.Adam(torch.nn.Linear(2, 3).parameters())
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    state = State({}, {what: [value]})
    with pytest.raises(StateError, match=f"^the state of {what[:-1]} 0 does not fit: {told}.*\n"):
        write_training(state, [optimizer], [schedule], None)


def test_keys_that_read_alike() -> None:
    rest = {"param_groups": [], "state": {1: torch.ones(1), "1": torch.zeros(1)}}
    assert "stands for two tensors" in refused(file_of({"models": [{}], "optimizers": [rest]}))
