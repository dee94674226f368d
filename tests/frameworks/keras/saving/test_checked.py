"""Keras's files from anywhere: what may be read, and that nothing else is reached from them."""

import io
import json
import random
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.frameworks import stateful
from tests.frameworks.keras.saving.test_state import ALONE, data_of
from tests.frameworks.ranks import Failed, job_of
from tests.wire.saved.samples import altered, damaged
from zoo.orca.errors import StateError
from zoo.orca.frameworks.keras.saving.checked import check_file, config_of
from zoo.orca.wire.job import TrainJob
from zoo.orca.wire.saved.values import Unsound

pytestmark = pytest.mark.timeout(300)


def h5_of(path: Path, write) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.ones((2, 3)))
        write(file)
    return path


def archive_of(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def circle(file: h5py.File) -> None:
    file["layers/all"] = file["/"]


def test_sound_files_are_read(tmp_path: Path) -> None:
    plain = h5_of(tmp_path / "a.h5", circle)
    check_file(str(plain))
    members = [("config.json", b"{}"), ("model.weights.h5", plain.read_bytes())]
    check_file(str(archive_of(tmp_path / "a.keras", members)))


def link_out(file: h5py.File) -> None:
    file["layers/dense/vars/1"] = h5py.ExternalLink("/etc/passwd", "/")


def soft(file: h5py.File) -> None:
    file["layers/other"] = h5py.SoftLink("/layers/dense")


def outside(file: h5py.File) -> None:
    file.create_dataset("w", (4,), "i1", external=[("/etc/passwd", 0, 4)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "i1")
    layout[:] = h5py.VirtualSource("/other.h5", "w", (4,))
    file.create_virtual_dataset("w", layout)


def empty_and_large(file: h5py.File) -> None:
    """Eight terabytes of which no number is there."""
    file.create_dataset("w", (1 << 20, 1 << 20), "f8", chunks=(1024, 1024))


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (link_out, "1 is a link, which Keras never writes"),
        (soft, "other is a link, which Keras never writes"),
        (outside, "w lies in another file"),
        (virtual, "w lies in another file"),
        (empty_and_large, "it has arrays that weigh much more than the file"),
    ],
)
def test_files_of_hdf5_that_are_refused(tmp_path: Path, write, told: str) -> None:
    path = h5_of(tmp_path / "a.h5", write)
    inside = [("config.json", b"{}"), ("model.weights.h5", path.read_bytes())]
    for one in (path, archive_of(tmp_path / "a.keras", inside)):
        with pytest.raises(Unsound) as caught:
            check_file(str(one))
        assert str(caught.value) == told


def test_archives_that_are_refused(tmp_path: Path) -> None:
    weights = ("model.weights.h5", h5_of(tmp_path / "a.h5", circle).read_bytes())
    config = ("config.json", b"{}")
    pickled = ("model.weights.npz", b"")
    for members in ([config], [weights], [config, pickled]):
        path = archive_of(tmp_path / "a.keras", members)
        with pytest.raises(Unsound, match="^it does not have model.weights.h5 and config.json"):
            check_file(str(path))
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive_of(tmp_path / "a.keras", [config, weights, config])
    with pytest.raises(Unsound, match="once each$"):
        check_file(str(path))
    bomb = ("assets/a", bytes(1 << 27))
    path = archive_of(tmp_path / "a.keras", [config, weights, bomb], zipfile.ZIP_DEFLATED)
    with pytest.raises(Unsound, match="^it is much larger inside than the file$"):
        check_file(str(path))


@pytest.mark.parametrize(
    "config", ["[" * 5000, "[]", '{"compile_config": 3}', '{"a": 1, "a": 2}', "\ud800", ""]
)
def test_configurations_that_are_none(tmp_path: Path, config: str) -> None:
    data = config.encode("utf-8", "surrogatepass")
    path = archive_of(tmp_path / "a.keras", [("config.json", data)])
    with pytest.raises(Unsound):
        config_of(str(path))


def sweep(job, path, seeds):
    """Read damaged files; return what else than `StateError` came of them. Runs in a child."""
    from zoo.orca.frameworks.keras.saving import files as keras_files

    found = []
    keras_files.save_model(job, path)
    sound = Path(path).read_bytes()
    for seed in seeds:
        chance = random.Random(seed)
        data = altered_config(sound, chance) if seed % 2 else damaged(sound, chance)
        Path(path).write_bytes(data)
        try:
            keras_files.load_weights(job, path, whole=True)
        except StateError as error:
            if len(str(error).splitlines()) != 2 or path not in str(error):
                found.append((seed, str(error)))
        except Exception as error:
            found.append((seed, repr(error)))
    return found


def altered_config(data: bytes, chance: random.Random) -> bytes:
    """A file whose configuration has something else in it; only .keras and .h5 have one."""
    stream = io.BytesIO(data)
    if not data.startswith(b"PK"):
        with h5py.File(stream, "r+") as file:
            config = json.loads(file.attrs.get("training_config", "{}"))
            file.attrs["training_config"] = altered(config, chance).encode("utf-8", "replace")
        return stream.getvalue()
    changed = io.BytesIO()
    with zipfile.ZipFile(stream) as archive, zipfile.ZipFile(changed, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "config.json":
                content = altered(json.loads(content), chance).encode("utf-8", "replace")
            other.writestr(name, content)
    return changed.getvalue()


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_damaged_and_altered_files(keras_bench, tmp_path, ending) -> None:
    job = job_of(
        TrainJob,
        stateful.layered,
        data_of(ALONE).spec,
        config=keras_bench.config(),
        framework=keras_bench.family.framework,
    )
    path = str(tmp_path / f"model{ending}")
    assert keras_bench.ranks.alone(sweep, job, path, range(24 if ending == ".h5" else 10)) == []


def test_a_lambda_of_a_file_does_not_run(keras_bench, tmp_path) -> None:
    """Only weights are read: the layers are those of the creator."""
    job = job_of(
        TrainJob,
        stateful.layered,
        data_of(ALONE).spec,
        config=keras_bench.config(),
        framework=keras_bench.family.framework,
    )
    made = tmp_path / "made"
    path = str(tmp_path / "model.keras")
    assert keras_bench.ranks.alone(with_lambda, job, path, str(made)) is None
    with pytest.raises(Failed) as caught:
        keras_bench.ranks.alone(read, job, path)
    assert caught.value.kind is StateError
    assert not made.exists()


def with_lambda(job, path, made):
    """Save a model whose one layer makes a file when it is made. Runs in a child."""
    from zoo.orca.frameworks.keras.models import KerasModel

    keras = KerasModel(job, fresh_process=False).keras.package()
    layer = keras.layers.Lambda(eval(f"lambda x: [open({made!r}, 'w').close(), x][1]"))  # noqa: S307
    keras.Sequential([keras.Input((1,)), layer]).save(path)
    Path(made).unlink()


def read(job, path):
    from zoo.orca.frameworks.keras.saving import files as keras_files

    keras_files.load_weights(job, path, whole=True)
