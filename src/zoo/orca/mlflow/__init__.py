"""Orca's flavour of MLflow: estimators as MLflow's models, and `fit` calls as its runs.

A model is one that every tool of MLflow takes: `mlflow.pyfunc.load_model` predicts frames of
pandas, `mlflow.pyfunc.spark_udf` columns of Spark. Beside Orca's own files there is the same model
in MLflow's flavour of its framework, where that can hold it.
"""

from importlib.util import find_spec
from typing import Any

from zoo.orca.errors import MissingPackageError

if find_spec("mlflow") is None:
    raise MissingPackageError(
        "zoo.orca.mlflow needs MLflow, which is not installed here\n"
        "Install it: pip install 'zoo-orca[mlflow]'"
    )

from zoo.orca.mlflow.artifact import FLAVOR_NAME
from zoo.orca.mlflow.autologging import autolog
from zoo.orca.mlflow.requirements import get_default_conda_env, get_default_pip_requirements
from zoo.orca.mlflow.saving import load_model, log_model, save_model

__all__ = [
    "FLAVOR_NAME",
    "autolog",
    "get_default_conda_env",
    "get_default_pip_requirements",
    "load_model",
    "log_model",
    "save_model",
]


def _load_pyfunc(path: str, model_config: Any = None) -> Any:
    """Return what predicts with the model in a directory; MLflow calls it by this name."""
    from zoo.orca.mlflow.pyfunc import loaded

    return loaded(path, model_config)
