"""The example's loops: on two workers they train what they train on one.

They run in a Python that has the loops' packages on top of this one's; `scripts/setup` makes it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.prefix) / "loops" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,  # the suite runs the page's own loop
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv/loops: scripts/setup makes it"),
]

#: Trains each loop on one worker and on two, and writes the weights of both.
PROGRAM = """
import json, sys
import own_loop
from zoo.orca import OrcaContext, init_orca_context, stop_orca_context
from zoo.orca.learn import Distributor

def listed(tree):
    if isinstance(tree, dict):
        return {name: listed(one) for name, one in tree.items()}
    return tree.tolist()

init_orca_context("local", cores=2, memory="1g")
try:
    rows = own_loop.make_rows(OrcaContext.get_spark_session(), 100)
    found = {}
    for loop in own_loop.LOOPS:
        given = {**own_loop.COLUMNS[loop], "shuffle": True, "epochs": 2}
        train = getattr(own_loop, loop)
        found[loop] = [listed(Distributor(n).run(train, rows, **given)) for n in (1, 2)]
finally:
    stop_orca_context()
json.dump(found, open(sys.argv[1], "w"))
"""


def flat(tree: Any, name: str = "") -> dict[str, np.ndarray]:
    if not isinstance(tree, dict):
        return {name: np.array(tree)}
    return {key: one for part in tree for key, one in flat(tree[part], f"{name}/{part}").items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each loop's weights, on one worker and on two."""
    directory = tmp_path_factory.mktemp("loops")
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "examples")])
    environment = {**os.environ, "PYTHONPATH": path, "PYSPARK_PYTHON": str(PYTHON)}
    environment |= {"HF_HUB_OFFLINE": "1", "PYSPARK_DRIVER_PYTHON": str(PYTHON)}
    program = directory / "program.py"
    program.write_text(PROGRAM)
    ran = subprocess.run(
        [str(PYTHON), str(program), str(directory / "found.json")],
        capture_output=True,
        text=True,
        timeout=560,
        env=environment,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    return dict(json.loads((directory / "found.json").read_text()))


@pytest.mark.parametrize("loop", ["lightning", "hugging_face", "flax"])
def test_two_workers_train_what_one_does(trained: dict[str, Any], loop: str) -> None:
    alone, several = map(flat, trained[loop])
    assert alone.keys() == several.keys() and len(alone) >= 4
    for name, weights in alone.items():
        np.testing.assert_allclose(several[name], weights, rtol=1e-4, atol=1e-6, err_msg=name)
    # Both have trained: the same weights before and after would be equal, too.
    assert any(np.abs(weights).max() > 1e-3 for weights in alone.values())
