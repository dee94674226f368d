"""What a model says that it needs, and what `zoo.orca.mlflow` itself needs."""

import importlib
import sys
from importlib.metadata import version

import pytest

from zoo.orca.errors import MissingPackageError
from zoo.orca.mlflow.requirements import get_default_conda_env, get_default_pip_requirements


@pytest.mark.parametrize(
    ("framework", "backend", "own"),
    [
        ("tf2", "", ["tf-keras"]),
        ("keras", "jax", ["keras", "jax"]),
        ("keras", "torch", ["keras", "torch"]),
        ("torch", "", ["torch"]),
    ],
)
def test_a_model_needs_the_versions_that_made_it(framework, backend, own):
    found = get_default_pip_requirements(framework, backend)
    assert {f"{name}=={version(name)}" for name in own} <= set(found)
    assert found[0].partition("==")[0] == "zoo-orca"
    assert any(one.startswith("mlflow") for one in found)
    assert found == get_default_conda_env(framework, backend)["dependencies"][-1]["pip"]


def test_without_mlflow_the_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.delitem(sys.modules, "zoo.orca.mlflow")
    with pytest.raises(MissingPackageError, match=r"\nInstall it: .*'zoo-orca\[mlflow\]'"):
        importlib.import_module("zoo.orca.mlflow")
