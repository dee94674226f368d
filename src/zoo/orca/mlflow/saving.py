"""Estimators as models of MLflow: saved, logged to a run, and loaded again."""

import logging
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo.orca.errors import InvalidInputError, StateError
from zoo.orca.learn.estimator import BaseEstimator
from zoo.orca.learn.options import EngineOptions
from zoo.orca.learn.outputs import prediction_columns
from zoo.orca.learn.tracking.packaged import Package
from zoo.orca.mlflow.artifact import DIRECTORY, FLAVOR_NAME, read_artifact, write_artifact
from zoo.orca.mlflow.beside import save_beside
from zoo.orca.mlflow.requirements import get_default_pip_requirements, write_environment
from zoo.orca.mlflow.schema import signature_of
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.outputs import OutputSpec

_logger = logging.getLogger(__name__)

#: The module that makes a framework's estimators.
ESTIMATORS = {
    "tf2": "zoo.orca.learn.tf2",
    "keras": "zoo.orca.learn.keras",
    "torch": "zoo.orca.learn.pytorch",
}
#: Rows of an example that comes from a DataFrame of Spark.
EXAMPLE_ROWS = 5
_PICKLED = "The model's creator is pickled with cloudpickle: to load the model runs its code"


def save_model(
    estimator: BaseEstimator,
    path: str,
    mlflow_model: Any = None,
    *,
    signature: Any = None,
    input_example: Any = None,
    framework_flavor: bool | None = None,
    conda_env: Any = None,
    code_paths: Sequence[str] | None = None,
    pip_requirements: Any = None,
    extra_pip_requirements: Any = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write an estimator to a local directory as a model of MLflow.

    The directory holds the estimator's state as safetensors, what makes the model as pickles, and,
    where it can be, the same model in MLflow's own flavour of the framework.

    Parameters
    ----------
    estimator : Estimator
        One that has trained, loaded or predicted, so that it knows its columns.
    path : str
        A local directory that is not there yet.
    mlflow_model : mlflow.models.Model, optional
        What MLflow passes of a model that it logs.
    signature : ModelSignature or False, optional
        By default that of the DataFrame's columns and of the predictions; False for none.
    input_example : DataFrame of pandas or of Spark, optional
        Rows to show; of a DataFrame of Spark the first few.
    framework_flavor : bool, optional
        Whether `mlflow.keras`, `mlflow.tensorflow` or `mlflow.pytorch` loads the model, too, which
        needs the framework here. By default it does where that works, and the log says why not.
    conda_env, code_paths, pip_requirements, extra_pip_requirements, metadata : optional
        As in MLflow's own flavours.

    Raises
    ------
    StateError
        If the estimator does not know its columns yet.
    InvalidInputError
        If something is there already.
    ModelError
        If `framework_flavor` is True, and the framework's flavour cannot hold the model.
    """
    from mlflow.models import Model
    from mlflow.models.utils import _save_example

    package = _package(estimator)
    target = Path(path)
    if target.exists() and any(target.iterdir()):
        raise InvalidInputError(f"{path} is there already\nName a directory that is not there yet")
    columns = _columns(package)
    names = prediction_columns(_outputs(package), None)
    made = Model() if mlflow_model is None else mlflow_model
    save_beside(estimator, package, target, made, wanted=framework_flavor)
    write_artifact(target / DIRECTORY, package, names)
    if signature is None:
        signature = signature_of(columns, _outputs(package), names)
    made.signature = signature or None
    made.saved_input_example_info = None
    _save_example(made, _example(input_example, columns), path)
    made.metadata = {**(made.metadata or {}), **(metadata or {}), "zoo_orca": _PICKLED}
    _complete(
        made,
        target,
        package,
        code_paths=code_paths,
        conda_env=conda_env,
        pip_requirements=pip_requirements,
        extra_pip_requirements=extra_pip_requirements,
    )


def log_model(
    estimator: BaseEstimator,
    name: str | None = None,
    *,
    registered_model_name: str | None = None,
    **options: Any,
) -> Any:
    """Log an estimator to the active run, or to a new one, as a model of MLflow.

    Parameters
    ----------
    estimator : Estimator
    name : str, optional
        The model's name.
    registered_model_name : str, optional
        Register it in the registry under this name.
    **options : object
        As in `save_model`, or as of `mlflow.models.Model.log`.

    Returns
    -------
    mlflow.models.model.ModelInfo

    Raises
    ------
    StateError, ModelError
        As `save_model`.
    """
    from mlflow.models import Model

    _package(estimator)  # fails before MLflow has made a model without files
    return Model.log(
        artifact_path=options.pop("artifact_path", None),
        name=name,
        flavor=sys.modules["zoo.orca.mlflow"],
        estimator=estimator,
        registered_model_name=registered_model_name,
        **options,
    )


def load_model(model_uri: str, dst_path: str | None = None, **options: Any) -> Any:
    """Return the estimator of a model, to predict, or to go on training.

    This reads pickles that run code of whoever saved the model, as soon as a worker makes it.

    Parameters
    ----------
    model_uri : str
        As MLflow names models: ``runs:/…``, ``models:/…``, or a path.
    dst_path : str, optional
        Where to keep the files that are downloaded.
    **options : object
        Of the estimator that are to be others here: `num_workers`, `workers_per_node`,
        `model_dir`, `min_workers`, `num_gpus_per_worker`, `cpu_binding`, `log_to_driver`.

    Returns
    -------
    Estimator
        Of `zoo.orca.learn.tf2`, `zoo.orca.learn.keras` or `zoo.orca.learn.pytorch`.

    Raises
    ------
    StateError
        If it is no model of Orca's.
    InvalidInputError
        If an option cannot be used.
    """
    from mlflow.models import Model
    from mlflow.tracking.artifact_utils import _download_artifact_from_uri

    local = Path(_download_artifact_from_uri(artifact_uri=model_uri, output_path=dst_path))
    flavor = Model.load(str(local)).flavors.get(FLAVOR_NAME)
    if flavor is None:
        raise StateError(
            f"{model_uri} is a model of MLflow, but has no flavour {FLAVOR_NAME!r}\n"
            "Load it with the flavour that saved it, or with mlflow.pyfunc.load_model"
        )
    artifact = read_artifact(local / flavor["data"])
    unknown = sorted(set(options) - set(artifact.options))
    if unknown:
        raise InvalidInputError(
            f"{unknown[0]} is no option of an estimator\nName some of {sorted(artifact.options)}"
        )
    given = {**artifact.options, "noise": tuple(artifact.options["noise"])}
    package = Package(model=artifact.model, options=EngineOptions(**given), state=artifact.state)
    kind = import_module(ESTIMATORS[artifact.model.framework]).Estimator
    return kind._of_package(package, **options)


def _package(estimator: BaseEstimator) -> Package:
    if not isinstance(estimator, BaseEstimator):
        raise InvalidInputError(
            f"zoo.orca.mlflow saves estimators of zoo.orca.learn, got {type(estimator).__name__}\n"
            "Save a model of Keras or PyTorch with mlflow.keras or mlflow.pytorch"
        )
    return estimator._package("save_model")


def _columns(package: Package) -> FeatureSpec:
    return FeatureSpec.from_json(package.state.meta["columns"])


def _outputs(package: Package) -> tuple[OutputSpec, ...]:
    return tuple(map(OutputSpec.from_json, package.state.meta["outputs"]))


def _example(given: Any, columns: FeatureSpec) -> Any:
    """Return rows for MLflow to show; of a DataFrame of Spark the first, the model's columns."""
    if given is None or not hasattr(given, "sparkSession"):
        return given
    features = [column for column in columns.features if not column.mask_of]
    names = {source for column in features for source in column.sources}
    kept = [name for name in given.columns if name in names]
    return given.select(*(given[f"`{name}`"] for name in kept)).limit(EXAMPLE_ROWS).toPandas()


def _complete(
    made: Any, target: Path, package: Package, *, code_paths: Any, **environment: Any
) -> None:
    """Add both flavours to the metadata, and write it with the files of the environment."""
    from mlflow import pyfunc
    from mlflow.utils.file_utils import get_total_file_size
    from mlflow.utils.model_utils import _validate_and_copy_code_paths

    framework = package.model.framework
    code = _validate_and_copy_code_paths(code_paths, str(target))
    requirements = get_default_pip_requirements(
        framework, package.options.environment.get("KERAS_BACKEND", "")
    )
    made.add_flavor(
        FLAVOR_NAME,
        data=DIRECTORY,
        framework=framework,
        estimator=f"{ESTIMATORS.get(framework, framework)}.Estimator",
        zoo_orca_version=requirements[0].partition("==")[2] or "unknown",
        creator_format="cloudpickle",
        code=code,
    )
    pyfunc.add_to_model(
        made,
        loader_module="zoo.orca.mlflow",
        data=DIRECTORY,
        code=code,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )
    write_environment(target, requirements, **environment)
    made.model_size_bytes = get_total_file_size(str(target)) or None
    made.save(str(target / "MLmodel"))
