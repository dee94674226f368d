"""The same model in MLflow's own flavour of its framework, beside Orca's files.

So programs that know nothing of Orca load it: `mlflow.keras.load_model` and its like.
"""

import logging
import shutil
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from zoo.orca.errors import ModelError, OrcaError
from zoo.orca.learn.tracking.packaged import Package
from zoo.orca.mlflow.requirements import get_default_pip_requirements
from zoo.orca.wire.features import FeatureSpec

_logger = logging.getLogger(__name__)

#: Rows of the arrays that PyTorch's exporter calls a model with. One row would be a constant.
_TRACED_ROWS = 2


def save_beside(
    estimator: Any, package: Package, target: Path, made: Any, *, wanted: bool | None
) -> None:
    """Write the framework's flavour into a directory; MLflow's writers need an empty one.

    Raises
    ------
    ModelError
        If it is `wanted`, and cannot be.
    """
    save = _WRITERS.get(package.model.framework)
    if wanted is False or save is None:
        return
    try:
        save(estimator, package, target, made)
        # The names of files say what they are, and MLflow's writers know nothing of each other.
        (target / "MLmodel").unlink(missing_ok=True)
    except Exception as error:  # whatever a framework, or a model of the user's, raises
        shutil.rmtree(target, ignore_errors=True)
        made.flavors.clear()
        told = str(error).partition("\n")[0]
        reason = told if isinstance(error, OrcaError) else f"{type(error).__name__}: {told}"
        if wanted:
            raise ModelError(
                f"framework_flavor=True: MLflow's own flavour cannot hold the model: {reason}\n"
                "Leave framework_flavor out: Orca's flavour needs nothing of it"
            ) from error
        _logger.info("the model is saved without MLflow's own flavour of it: %s", reason)


def _keras(flavor: str, estimator: Any, package: Package, target: Path, made: Any) -> None:
    model = estimator.get_model()
    # MLflow's module imports Keras, whose backend is chosen now.
    import_module(flavor).save_model(
        model,
        str(target),
        mlflow_model=made,
        signature=_signature(_fed(package)),
        pip_requirements=_requirements(package),
    )


def _pytorch(estimator: Any, package: Package, target: Path, made: Any) -> None:
    columns = _fed(package)
    if columns.feature_keys is not None:
        raise ModelError("torch.export takes inputs by position, and the model's are by name")
    model = estimator.get_model().eval()
    import mlflow.pytorch

    examples = [
        np.zeros((_TRACED_ROWS, *(n or _TRACED_ROWS for n in one.shape)), _dtype(one.dtype))
        for one in columns.features
    ]
    mlflow.pytorch.save_model(
        model,
        str(target),
        mlflow_model=made,
        signature=_signature(columns),
        input_example=examples,
        pip_requirements=_requirements(package),
        serialization_format="pt2",
    )
    for name in ("input_example.json", "serving_input_example.json"):
        (target / name).unlink(missing_ok=True)  # those are of the tensors


_WRITERS: dict[str, Callable[[Any, Package, Path, Any], None]] = {
    "keras": partial(_keras, "mlflow.keras"),
    "tf2": partial(_keras, "mlflow.tensorflow"),
    "torch": _pytorch,
}


def _fed(package: Package) -> FeatureSpec:
    """Return what the model itself gets: the columns, or what its transform makes of them."""
    meta = package.state.meta
    has_transform = package.model.transform is not None and meta.get("inputs")
    return FeatureSpec.from_json(meta["inputs"] if has_transform else meta["columns"])


def _signature(columns: FeatureSpec) -> Any:
    """Return the signature of the model's tensors, which these flavours ask for."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    shapes = [(-1, *(-1 if n is None else n for n in one.shape)) for one in columns.features]
    keys = columns.feature_keys or [one.name for one in columns.features]
    return ModelSignature(
        inputs=Schema(
            [
                TensorSpec(_dtype(one.dtype), shape, name)
                for one, shape, name in zip(columns.features, shapes, keys, strict=True)
            ]
        )
    )


def _dtype(name: str) -> Any:
    return np.dtype(object if name == "string" else name)


def _requirements(package: Package) -> list[str]:
    backend = package.options.environment.get("KERAS_BACKEND", "")
    return get_default_pip_requirements(package.model.framework, backend)
