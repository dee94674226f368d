"""Saved states: what is written is read, and rubbish is refused."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fake_estimator import FakeEstimator, linear
from tests.wire.saved.samples import SAMPLES, altered, damaged, fake
from zoo.orca.driver.storage import load_state, save_state
from zoo.orca.errors import InvalidInputError, StateError
from zoo.orca.files import (
    file_sizes,
    list_names,
    read_bytes,
    remove_directory,
    remove_file,
    write_bytes,
)
from zoo.orca.wire.packing import State


def _state() -> State:
    tensors = {
        "weights/b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "weights/a": np.array(3, np.int64),
        "weights/transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "optimizer/m": np.zeros((0, 4), np.float16),
    }
    return State(tensors, {"framework": "fake", "epoch": 3, "step": 7})


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_state_survives(tmp_path: Path, form: str) -> None:
    path = form.format(tmp_path / "new" / "NCF.ckpt")
    save_state(_state(), path)
    found = load_state(path)
    assert found.meta == _state().meta
    assert list(found.tensors) == list(_state().tensors)
    for name, tensor in _state().tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)
        assert found.tensors[name].dtype == tensor.dtype
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["NCF.ckpt"]


def test_a_url_only_fsspec_knows(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    write_bytes("memory://some/file", b"abc")
    assert read_bytes("memory://some/file") == b"abc"


@pytest.mark.parametrize("form", ["{}/new", "file://{}/new", "memory:/{}/new"])
def test_what_is_removed_is_gone_and_may_be_gone_already(tmp_path: Path, form: str) -> None:
    pytest.importorskip("fsspec")
    directory = form.format(tmp_path)
    for name in ("a", "b", "c"):
        write_bytes(f"{directory}/{name}", b"x")
    write_bytes(f"{directory}/inner/d", b"")
    write_bytes(f"{directory}/b", b"xyz")
    assert file_sizes(directory) == {"a": 1, "b": 3, "c": 1}
    remove_directory(f"{directory}/inner")
    for _ in range(2):
        remove_file(f"{directory}/b")
        assert list_names(directory) == ["a", "c"]
    for _ in range(2):
        remove_directory(directory)
        assert list_names(directory) == [] and file_sizes(directory) == {}


def test_any_safetensors_reader_opens_it(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    save_state(_state(), str(tmp_path / "x.safetensors"))
    assert set(load_file(tmp_path / "x.safetensors")) == set(_state().tensors)


@pytest.mark.parametrize("keep", [0, 4, 8, 40, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x"
    save_state(_state(), str(path))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StateError, match="x is not a state"):
        load_state(str(path))


@pytest.mark.parametrize("form", ["{}", "file://{}", "memory://{}"])
def test_a_directory_is_removed_if_it_is_there(tmp_path: Path, form: str) -> None:
    pytest.importorskip("fsspec")
    directory = form.format(tmp_path / "run")
    remove_directory(directory)
    write_bytes(f"{directory}/state", b"abc")
    assert list_names(directory) == ["state"]
    remove_directory(directory)
    assert list_names(directory) == []


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_what_the_filesystem_refuses_is_told_with_the_way_out(tmp_path: Path, form: str) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    below, directory = form.format(tmp_path / "file" / "below"), form.format(tmp_path)
    for error, call, way in (
        (InvalidInputError, lambda: write_bytes(below, b"x"), "may write to"),
        (StateError, lambda: read_bytes(directory), "may read"),
    ):
        with pytest.raises(error) as caught:
            call()
        first, second = str(caught.value).splitlines()
        assert first.startswith("cannot ") and str(tmp_path) in first
        assert way in second
    written = form.format(tmp_path / "other")
    write_bytes(written, b"x")
    assert read_bytes(written) == b"x"


@pytest.mark.parametrize("call", [read_bytes, list_names, lambda path: write_bytes(path, b"x")])
def test_a_scheme_that_nobody_knows(call) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(
        InvalidInputError, match="^nowhere://a/b cannot be opened: .*nowhere"
    ) as one:
        call("nowhere://a/b")
    assert str(one.value).splitlines()[1].startswith("Name a local path or a URL")


def test_a_scheme_that_nobody_knows_cannot_be_loaded() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(StateError, match="^nowhere://a/b cannot be opened: .*nowhere"):
        FakeEstimator.of(linear(1)).load("nowhere://a/b")
    for path in ("no\0name", "file://", "s3://", "memory://nothing"):
        with pytest.raises(StateError) as caught:
            read_bytes(path)
        assert len(str(caught.value).splitlines()) == 2


def _refused(data: bytes, path: Path) -> bool:
    """Whether a file with these bytes is refused; anything but `StateError` fails the test."""
    path.write_bytes(data)
    try:
        load_state(str(path))
    except StateError as error:
        first, second = str(error).splitlines()
        assert first.startswith(str(path)) and second
        return True
    return False


@settings(max_examples=60)
@given(st.integers(0, 1 << 32), st.sampled_from(sorted(SAMPLES)))
def test_files_that_were_damaged_or_altered(
    tmp_path_factory: pytest.TempPathFactory, seed: int, name: str
) -> None:
    chance = random.Random(seed)
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    save_state(SAMPLES[name](), str(path))
    whole = path.read_bytes()
    assert not _refused(whole, path)
    size = int.from_bytes(whole[:8], "little")
    outer = json.loads(whole[8 : 8 + size])
    inner = json.loads(outer["__metadata__"]["zoo.orca"])
    for _ in range(10):
        _refused(damaged(whole, chance), path)
        # The header of safetensors, and Orca's own as a text within it.
        metadata = {"zoo.orca": altered(inner, chance)}
        for header in (altered(outer, chance), json.dumps({**outer, "__metadata__": metadata})):
            text = header.encode("utf-8", "surrogatepass")
            _refused(len(text).to_bytes(8, "little") + text + whole[8 + size :], path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epoch": "x"}, "epoch is 'x', not a whole number"),
        ({"epoch": -5}, "epoch is -5, not a whole number"),
        ({"columns": {}}, "columns has no features"),
        ({"outputs": [3]}, "outputs.0 is 3, not an object"),
        ({"cursor": {"pass": 0}}, "cursor has no step"),
    ],
)
def test_a_refused_file_changes_nothing(tmp_path: Path, change: dict, told: str) -> None:
    estimator = FakeEstimator.of(linear(3))
    good, bad = str(tmp_path / "good"), str(tmp_path / "bad")
    save_state(fake(), good)
    save_state(State(fake().tensors, {**fake().meta, **change}), bad)
    estimator.load(good)
    before = estimator.save(str(tmp_path / "before"))
    with pytest.raises(StateError, match=f"^{bad} is not a state .*: {told}"):
        estimator.load(bad)
    after = estimator.save(str(tmp_path / "after"))
    assert Path(before).read_bytes() == Path(after).read_bytes()


def test_a_write_that_fails_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "inside").touch()
    with pytest.raises(InvalidInputError, match="may write to"):
        write_bytes(str(tmp_path / "state"), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
