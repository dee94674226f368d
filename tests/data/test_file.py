"""Files by path and URL: what is written is read."""

import gzip
import io

import numpy as np
import pytest

from zoo.orca.data import file
from zoo.orca.errors import InvalidInputError, StateError


@pytest.fixture(params=["path", "file", "memory"])
def root(request, tmp_path):
    return {"path": str(tmp_path), "file": tmp_path.as_uri(), "memory": f"memory:/{tmp_path}"}[
        request.param
    ]


def test_text_and_directories(root):
    deep = f"{root}/a/b"
    assert not file.exists(deep)
    file.makedirs(deep)
    file.makedirs(deep)
    assert file.exists(deep) and not file.is_file(deep)
    assert file.write_text(f"{deep}/t.txt", "one \ntwö\n") == 9
    assert file.open_text(f"{deep}/t.txt") == ["one", "twö"]
    assert file.is_file(f"{deep}/t.txt") and file.exists(f"{deep}/t.txt")
    assert file.listdir(deep) == ["t.txt"]
    file.rmdir(f"{root}/a")
    assert not file.exists(f"{deep}/t.txt")
    with pytest.raises(InvalidInputError, match="there is no directory"):
        file.listdir(deep)
    with pytest.raises(StateError, match="t.txt"):
        file.open_text(f"{deep}/t.txt")


def test_arrays_and_copies(root, tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    np.save(source / "deep" / "a.npy", np.arange(3))
    np.savez(source / "b.npz", x=np.ones(2))
    file.put_local_dir_tree_to_remote(str(source), f"{root}/there")
    assert file.load_numpy(f"{root}/there/deep/a.npy").tolist() == [0, 1, 2]
    assert file.load_numpy(f"{root}/there/b.npz")["x"].tolist() == [1, 1]
    back = tmp_path / "back"
    file.get_remote_dir_to_local(f"{root}/there", str(back))
    assert (back / "deep" / "a.npy").read_bytes() == (source / "deep" / "a.npy").read_bytes()
    file.put_local_file_to_remote(str(source / "b.npz"), f"{root}/c.npz")
    file.get_remote_file_to_local(f"{root}/c.npz", str(tmp_path / "d.npz"))
    assert (tmp_path / "d.npz").read_bytes() == (source / "b.npz").read_bytes()


def test_files_that_are_compressed_stay_so(root):
    from zoo.orca.files import read_bytes, write_bytes

    file.makedirs(root)
    packed = gzip.compress(b"text")
    write_bytes(f"{root}/t.gz", packed)
    assert read_bytes(f"{root}/t.gz") == packed


def test_arrays_of_objects_are_refused(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}], object))
    with pytest.raises(InvalidInputError, match="is no file of arrays"):
        file.load_numpy(str(tmp_path / "o.npy"))


def test_images(root):
    image = pytest.importorskip("PIL.Image").new("RGB", (3, 2), (255, 0, 0))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    file.makedirs(root)
    from zoo.orca.files import write_bytes

    write_bytes(f"{root}/red.png", stream.getvalue())
    assert np.asarray(file.open_image(f"{root}/red.png")).tolist() == np.asarray(image).tolist()
