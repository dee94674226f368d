"""The newest of a directory's checkpoints, by time and then by the numbers in names."""

import os

import pytest

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.files.latest import latest_checkpoint
from zoo.orca.learn.keras import Estimator as Keras
from zoo.orca.learn.pytorch import Estimator as Torch
from zoo.orca.learn.tf2 import Estimator as Tf2


def put(directory, *names, at=1000):
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (at, at))
        if path.parent != directory:
            os.utime(path.parent, (at, at))


def test_the_newest_by_time(tmp_path):
    put(tmp_path, "a.keras", at=3000)
    put(tmp_path, "b.h5", "c.safetensors", at=2000)
    put(tmp_path, "notes.txt", at=9000)
    for where in (tmp_path, f"{tmp_path}/", tmp_path.as_uri()):
        assert latest_checkpoint(where).endswith("/a.keras")
    assert latest_checkpoint(tmp_path) == f"{tmp_path}/a.keras"


def test_of_one_moment_the_largest_number(tmp_path):
    put(tmp_path, "test-9.ckpt", "test-10.ckpt", "test-2.ckpt")
    assert latest_checkpoint(tmp_path) == f"{tmp_path}/test-10.ckpt"


def test_tensorflows_checkpoints_and_models(tmp_path):
    put(tmp_path, "w-1.index", "w-1.data-00000-of-00001", "checkpoint")
    assert latest_checkpoint(tmp_path) == f"{tmp_path}/w-1"
    put(tmp_path, "model/saved_model.pb", at=2000)
    assert latest_checkpoint(tmp_path) == f"{tmp_path}/model"


def test_every_estimator_has_it(tmp_path):
    put(tmp_path, "a.pt")
    for estimator in (Keras, Tf2, Torch):
        assert estimator.latest_checkpoint(str(tmp_path)) == f"{tmp_path}/a.pt"


@pytest.mark.parametrize("where", ["empty", "missing"])
def test_none(tmp_path, where):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match=f"no checkpoint in .*{where}"):
        latest_checkpoint(tmp_path / where)
