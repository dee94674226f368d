"""Whose file lies at a path."""

import zipfile

import h5py
import pytest

from zoo.orca.learn.files.kinds import (
    CHECKPOINT,
    SAVED_MODEL,
    STATE,
    TORCH,
    keras_kind,
    torch_kind,
)


@pytest.fixture
def made(tmp_path):
    with h5py.File(tmp_path / "hdf", "w"):
        pass
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "raw").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    (tmp_path / "tf").mkdir()
    (tmp_path / "tf" / "saved_model.pb").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "weights.index").touch()
    return tmp_path


KERAS = {
    "hdf": ".h5",
    "zip": ".keras",
    "raw": STATE,
    "tf": SAVED_MODEL,
    "weights": CHECKPOINT,
    "other": STATE,
    "missing": STATE,
    "any.keras": ".keras",
    "any.weights.h5": ".h5",
}


@pytest.mark.parametrize("name", KERAS)
def test_of_keras(made, name):
    assert keras_kind(str(made / name)) == KERAS[name]
    assert keras_kind((made / name).as_uri()) == KERAS[name]


@pytest.mark.parametrize(
    ("name", "kind"), [("zip", TORCH), ("raw", STATE), ("missing", STATE), ("any.pt", TORCH)]
)
def test_of_torch(made, name, kind):
    assert torch_kind(str(made / name)) == kind
    assert torch_kind((made / name).as_uri()) == kind
