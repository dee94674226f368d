"""What is written to a relative path is in the program's directory, whoever writes it."""

from pathlib import Path

import pytest

from zoo.orca.learn.files.callbacks import with_whole_paths
from zoo.orca.learn.options import EngineOptions
from zoo.orca.learn.pytorch.callbacks import ModelCheckpoint, TensorBoardCallback


class CSVLogger:
    def __init__(self, filename):
        self.filename = filename


class Of(CSVLogger):
    """A user's subclass."""


MADE = [
    (ModelCheckpoint, "filepath", "test-{epoch}.ckpt"),
    (TensorBoardCallback, "log_dir", "logs"),
    (CSVLogger, "filename", Path("log.csv")),
    (Of, "filename", "log.csv"),
]


@pytest.mark.parametrize(("kind", "name", "path"), MADE)
def test_a_relative_path_becomes_the_programs(kind, name, path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = kind(path)
    (found,) = with_whole_paths([given])
    assert type(found) is kind
    assert getattr(found, name) == str(tmp_path / path)
    assert getattr(given, name) == path  # the user's object stays as it is


@pytest.mark.parametrize("path", ["/there/m-{epoch}.ckpt", "s3://bucket/m.ckpt"])
def test_others_stay(path):
    given = [ModelCheckpoint(path), TensorBoardCallback(), object()]
    assert all(one is two for one, two in zip(given, with_whole_paths(given), strict=True))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("run", "{here}/run"),
        ("~/run", "{home}/run"),
        ("/run", "/run"),
        ("s3://b/run", "s3://b/run"),
    ],
)
def test_checkpoints_go_there_too(given, found, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/of/user")
    expected = found.format(here=tmp_path, home="/home/of/user")
    assert EngineOptions(model_dir=given).model_dir == expected
