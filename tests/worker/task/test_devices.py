"""Which GPUs a child is shown, and that a warm child keeps to them. No GPU is needed."""

import subprocess
from collections.abc import Iterator

import pytest

from zoo.orca.errors import DeviceError
from zoo.orca.wire.processors import VISIBLE_GPUS
from zoo.orca.worker.task import devices
from zoo.orca.worker.task import warm_children as children
from zoo.orca.worker.task.devices import device_environment, given, installed, shared


def test_none_asked_leaves_the_environment_alone():
    assert device_environment(0, ["0"], 0, {}) == {}


def test_sparks_addresses_are_what_the_child_sees():
    found = device_environment(2, ["1", "3"], 0, {})
    assert found[VISIBLE_GPUS] == "1,3"
    assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert found["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert found["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_what_the_user_has_set_stays():
    inherited = {"CUDA_DEVICE_ORDER": "FASTEST_FIRST", "XLA_PYTHON_CLIENT_PREALLOCATE": "true"}
    found = device_environment(1, ["0"], 0, inherited)
    assert not inherited.keys() & found.keys()


@pytest.mark.parametrize(
    ("addresses", "visible", "wanted"),
    [
        (["0", "1"], None, ["0", "1"]),
        (["0"], "5", ["5"]),
        (["1", "0"], "2,6", ["6", "2"]),
        (["0"], " GPU-aa , GPU-bb", ["GPU-aa"]),
        (["2", "3"], "2,3", ["2", "3"]),  # a script that does not heed the variable
        (["GPU-bb"], "GPU-aa,GPU-bb", ["GPU-bb"]),
        (["MIG-1/2/0"], None, ["MIG-1/2/0"]),
        (["0"], "4,-1,5", ["4"]),
    ],
)
def test_addresses_count_within_an_inherited_list(addresses, visible, wanted):
    assert given(addresses, {} if visible is None else {VISIBLE_GPUS: visible}) == wanted


@pytest.mark.parametrize("visible", ["", "-1", "4", "4,-1,5"])
def test_addresses_beyond_an_inherited_list_are_refused(visible):
    with pytest.raises(DeviceError, match="discoveryScript"):
        given(["1", "2"], {VISIBLE_GPUS: visible})


def test_fewer_addresses_than_asked_are_refused():
    with pytest.raises(DeviceError, match=r"spark\.task\.resource\.gpu\.amount=2"):
        device_environment(2, ["0"], 0, {})


@pytest.mark.parametrize(
    ("gpus", "places", "visible", "wanted"),
    [
        (1, 2, "0,1", [["0"], ["1"]]),
        (1, 4, "3,5", [["3"], ["5"], ["3"], ["5"]]),
        (2, 2, "0,1,2,3", [["0", "1"], ["2", "3"]]),
        (2, 2, "0,1,2", [["0", "1"], ["2", "0"]]),
        (1, 3, "7", [["7"]] * 3),
    ],
)
def test_workers_of_one_machine_share_in_turns(gpus, places, visible, wanted):
    assert [shared(gpus, place, {VISIBLE_GPUS: visible}) for place in range(places)] == wanted


def test_without_a_gpu_the_error_says_so(monkeypatch):
    monkeypatch.setattr(devices, "installed", list)
    for inherited, where in (
        ({}, "this machine has"),
        ({VISIBLE_GPUS: ""}, "CUDA_VISIBLE_DEVICES='' shows"),
    ):
        with pytest.raises(DeviceError) as caught:
            device_environment(1, [], 0, inherited)
        assert str(caught.value) == (
            f"num_gpus_per_worker=1, and {where} 0 GPUs\n"
            "Ask for fewer, or train on processors with num_gpus_per_worker=0"
        )


def test_the_drivers_tool_is_asked_until_it_has_answered_once(monkeypatch):
    answers = [None, "0\n1\n"]

    def run(command, **options):
        answer = answers.pop(0)
        if answer is None:
            raise subprocess.CalledProcessError(9, command)
        return subprocess.CompletedProcess(command, 0, answer, "")

    monkeypatch.setattr(devices.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(devices.subprocess, "run", run)
    devices._asked.cache_clear()
    try:
        assert installed() == []  # it finds no driver
        assert installed() == installed() == ["0", "1"]
    finally:
        devices._asked.cache_clear()


@pytest.fixture
def no_child_stays() -> Iterator[None]:
    yield
    children.stop_all()


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("no_child_stays")
def test_a_warm_child_serves_only_its_own_devices():
    first = children.acquire(device_environment(1, ["0"], 0, {}))
    children.release(first)
    again = children.acquire(device_environment(1, ["0"], 0, {}))
    assert again is first
    children.release(again)
    other = children.acquire(device_environment(1, ["1"], 0, {}))
    assert other is not first and not first.alive
    children.release(other)
    without = children.acquire({})
    assert without is not other and not other.alive
    children.release(without)
