"""The packages that a saved model needs, in the versions that are installed here."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: For each plug-in the packages that its models need; of several names the first that is here.
_PACKAGES = {
    "tf2": (("tensorflow", "tensorflow-cpu"), ("tf-keras",)),
    "keras": (("keras",),),
    "torch": (("torch",),),
}
#: What each backend of Keras 3 needs beside Keras.
_BACKENDS = {
    "jax": ("jax",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "torch": ("torch",),
}
_ALWAYS = (("zoo-orca",), ("mlflow", "mlflow-skinny"), ("cloudpickle",))


def get_default_pip_requirements(framework: str = "", backend: str = "") -> list[str]:
    """Return what a model of a framework needs, as lines of ``requirements.txt``.

    Parameters
    ----------
    framework : str
        "tf2", "keras" or "torch"; empty for what all of them need.
    backend : str
        Of Keras 3: "jax", "tensorflow" or "torch".
    """
    wanted: list[tuple[str, ...]] = [*_ALWAYS, *_PACKAGES.get(framework, ())]
    if backend in _BACKENDS:
        wanted.append(_BACKENDS[backend])
    return [_pinned(names) for names in wanted]


def get_default_conda_env(framework: str = "", backend: str = "") -> Any:
    """Return the environment of `get_default_pip_requirements` in conda's form."""
    from mlflow.utils.environment import _mlflow_conda_env

    requirements = get_default_pip_requirements(framework, backend)
    return _mlflow_conda_env(additional_pip_deps=requirements, install_mlflow=False)


def write_environment(
    directory: Path,
    defaults: Sequence[str],
    *,
    conda_env: Any,
    pip_requirements: Any,
    extra_pip_requirements: Any,
) -> None:
    """Write the files that say what a model needs, as MLflow's own flavours do.

    The defaults are not found out by loading the model in another process, as MLflow does: that
    takes as long as the framework takes to start.
    """
    import yaml
    from mlflow.utils.environment import (
        _process_conda_env,
        _process_pip_requirements,
        _PythonEnv,
        _validate_env_arguments,
    )

    _validate_env_arguments(conda_env, pip_requirements, extra_pip_requirements)
    if conda_env is None:
        own = list(defaults) if pip_requirements is None else None
        found = _process_pip_requirements(own, pip_requirements, extra_pip_requirements)
    else:
        found = _process_conda_env(conda_env)
    conda, pip, constraints = found
    (directory / "conda.yaml").write_text(yaml.safe_dump(conda, default_flow_style=False))
    (directory / "requirements.txt").write_text("\n".join(pip))
    if constraints:
        (directory / "constraints.txt").write_text("\n".join(constraints))
    _PythonEnv.current().to_yaml(str(directory / "python_env.yaml"))


def _pinned(names: tuple[str, ...]) -> str:
    for name in names:
        try:
            return f"{name}=={version(name)}"
        except PackageNotFoundError:
            continue
    return names[0]
