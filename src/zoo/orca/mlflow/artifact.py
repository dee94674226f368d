"""Orca's own files of a model: settings as JSON, the state as safetensors, creators as pickles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.orca.driver.storage import load_state, save_state
from zoo.orca.errors import StateError
from zoo.orca.wire.job import ModelSpec
from zoo.orca.wire.packing import State

if TYPE_CHECKING:  # a server that predicts needs no pyspark
    from zoo.orca.learn.tracking.packaged import Package

#: The flavour's name in a model's metadata.
FLAVOR_NAME = "orca"
#: The directory of Orca's files within a model.
DIRECTORY = "orca"
#: The parts of a `ModelSpec` that are pickled, each a file where it is there.
PICKLED = ("creator", "config", "compile_args", "transform")

_SETTINGS, _STATE = "estimator.json", "state.safetensors"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What a model's files hold.

    Parameters
    ----------
    model : ModelSpec
    options : dict
        The fields of the estimator's `EngineOptions`, as JSON has them.
    state : State
    names : tuple of str
        What the model's outputs are called.
    """

    model: ModelSpec
    options: dict[str, Any]
    state: State
    names: tuple[str, ...]


def write_artifact(directory: Path, package: Package, names: Sequence[str]) -> None:
    """Write Orca's files into a directory that is not there yet."""
    directory.mkdir(parents=True)
    model = package.model
    settings = {
        "version": _VERSION,
        "framework": model.framework,
        "options": asdict(package.options),
        "names": list(names),
    }
    (directory / _SETTINGS).write_text(json.dumps(settings, indent=2))
    for name in PICKLED:
        part = getattr(model, name)
        if part is not None:
            (directory / f"{name}.pkl").write_bytes(part)
    save_state(package.state, str(directory / _STATE))


def read_artifact(directory: Path) -> Artifact:
    """Read Orca's files; this unpickles nothing.

    Raises
    ------
    StateError
        If they are not there, or of another version.
    """
    try:
        settings = json.loads((directory / _SETTINGS).read_text())
        version, framework = settings["version"], settings["framework"]
        options, names = dict(settings["options"]), tuple(settings["names"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(
            f"{directory} holds no model of zoo.orca.mlflow: {error}\n"
            "Name a model that zoo.orca.mlflow has saved or logged"
        ) from error
    if version != _VERSION:
        raise StateError(
            f"{directory} has format version {version}, and this zoo-orca reads {_VERSION}\n"
            "Load it with the release of zoo-orca that saved it"
        )
    parts = {name: directory / f"{name}.pkl" for name in PICKLED}
    found = {name: path.read_bytes() for name, path in parts.items() if path.exists()}
    model = ModelSpec(
        framework=framework,
        creator=found["creator"],
        config=found["config"],
        compile_args=found.get("compile_args"),
        transform=found.get("transform"),
    )
    state = load_state(str(directory / _STATE))
    return Artifact(model=model, options=options, state=state, names=names)
