"""Importing the package costs next to nothing."""

import json
import subprocess
import sys

import pytest

HEAVY = {"pyspark", "pandas", "numpy", "tensorflow", "keras", "tf_keras", "torch", "jax"}
FRAMEWORKS = HEAVY - {"pyspark", "pandas", "numpy"}


def loaded_by(module: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after one import."""
    program = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    return {name.partition(".")[0] for name in json.loads(answer.stdout)}


@pytest.mark.parametrize("module", ["zoo.orca", "zoo.orca.data", "zoo.orca.automl.hp"])
def test_import_of_the_package_imports_nothing_heavy(module):
    assert not loaded_by(module) & HEAVY


@pytest.mark.parametrize(
    "module",
    [
        *(f"zoo.orca.learn.{name}" for name in ("keras", "tf2", "pytorch", "metrics")),
        "zoo.orca.automl.auto_estimator",
        "zoo.orca.ml",
    ],
)
def test_import_of_an_estimator_imports_no_framework(module):
    assert not loaded_by(module) & FRAMEWORKS


def test_bases_of_a_users_classes_import_no_framework():
    bases = "from zoo.orca.learn.pytorch import TrainingOperator"
    callbacks = "from zoo.orca.learn.pytorch.callbacks import Callback"
    assert not loaded_by(f"zoo.orca; {bases}; {callbacks}") & FRAMEWORKS
