"""A transform in processes of its own: what it returns is the same, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from zoo.orca.errors import DataError, WorkerError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.packing import pack
from zoo.orca.worker.child.transform_processes import TransformProcesses
from zoo.orca.worker.rows.transform import Made, Transform, TransformedColumns, roles

pytestmark = pytest.mark.timeout(60)


def noisy(columns: Any, training: bool, random: Any) -> Any:
    """Read text, draw numbers, and say in which process; fail where a row says so."""
    if (columns["x"] == 13).any():
        raise ValueError("there is a 13")
    if (columns["x"] == 14).any():
        os.kill(os.getpid(), signal.SIGKILL)
    if (columns["x"] == 15).any():
        time.sleep(600)
    lengths = np.array([len(text) for text in columns["text"]])
    process = np.full(len(lengths), os.getpid())
    return {"x": columns["x"] + random.random(len(lengths)), "n": lengths, "process": process}


@pytest.fixture(scope="module")
def processes():
    made = TransformProcesses(pack(noisy, "noisy"), 5, 2)
    yield made
    made.close()


def rows(*values: float) -> dict[str, np.ndarray]:
    texts = np.empty(len(values), object)
    texts[:] = [b"t" * int(value) for value in values]
    return {"x": np.array(values, np.float32), "text": texts}


def test_results_are_those_of_threads(processes):
    here = Transform(noisy, 5)
    for training in (True, False):
        for place in ((0, 0), (7, 1)):
            found = processes(rows(1, 2, 3), training=training, place=place)
            expected = here(rows(1, 2, 3), training=training, place=place)
            assert list(found) == list(expected)
            for name in ("x", "n"):
                np.testing.assert_array_equal(found[name], expected[name])
                assert found[name].dtype == expected[name].dtype
            assert os.getpid() not in found["process"]


def test_steps_are_gathered_by_all_of_them(processes):
    raw = rows(*range(12))
    sample = processes(rows(1), training=True, place=(0, 0, 0))
    columns = tuple(ColumnSpec(name=n, dtype=v.dtype.name, shape=()) for n, v in raw.items())
    made = Made(spec=roles(sample, FeatureSpec(features=columns)))
    orders = [np.arange(n, n + 2) for n in range(0, 12, 2)]
    here, there = (
        TransformedColumns(raw, one, made, sample, training=True, rank=0).gather(orders, 3)
        for one in (Transform(noisy, 5), processes)
    )
    for name in ("x", "n"):
        np.testing.assert_array_equal(here[name], there[name])
    assert len(set(there["process"])) == 2 and os.getpid() not in there["process"]


def test_an_error_of_the_function_is_the_users_own(processes):
    with pytest.raises(ValueError, match="there is a 13") as caught:
        processes(rows(13), training=True, place=(0, 0))
    assert "in noisy" in str(caught.value.__cause__)
    assert len(processes(rows(1), training=True, place=(0, 0))["x"]) == 1


def test_what_is_wrong_with_the_result_is_said_as_in_threads():
    made = TransformProcesses(pack(lambda columns, training: None, "none"), 0, 1)
    try:
        with pytest.raises(DataError, match="batch_transform returned a NoneType"):
            made(rows(1), training=True, place=(0, 0))
    finally:
        made.close()


def test_a_process_that_dies_is_an_error_at_once():
    made = TransformProcesses(pack(noisy, "noisy"), 5, 1)
    try:
        begun = time.monotonic()
        with pytest.raises(WorkerError, match="ended with code -9\n.*transform.processes"):
            made(rows(14), training=True, place=(0, 0))
        assert time.monotonic() - begun < 15
    finally:
        made.close()


def test_processes_end_with_the_child_even_within_a_call(tmp_path):
    code = f"""
import os, sys, threading, time
sys.path[:0] = {[os.getcwd()]!r}
from tests.worker.child.test_transform_processes import noisy, pack, rows, TransformProcesses
made = TransformProcesses(pack(noisy, "noisy"), 5, 1)
print(made(rows(1), training=True, place=(0, 0))["process"][0], flush=True)
threading.Thread(target=made, args=(rows(15),), kwargs=dict(training=True, place=(0, 0))).start()
time.sleep(0.5)
os.kill(os.getpid(), 9)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=50)
    process = int(found.stdout)
    until = time.monotonic() + 10
    while os.path.exists(f"/proc/{process}/cmdline") and time.monotonic() < until:
        time.sleep(0.05)
    assert time.monotonic() < until, "the process lives on"
