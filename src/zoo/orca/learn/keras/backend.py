"""Finds the backend that Keras 3 is set to, without importing it."""

import json
import os
from pathlib import Path

from zoo.orca.errors import InvalidInputError

BACKENDS = ("jax", "tensorflow", "torch")


def checked_backend(given: str | None) -> str:
    """Return the backend to use: the one given, or the one that Keras would choose here.

    Keras reads the environment variable KERAS_BACKEND, then ``keras.json`` in ``KERAS_HOME`` or
    ``~/.keras``. If neither names one, it takes TensorFlow.

    Raises
    ------
    InvalidInputError
        If the backend cannot train.
    """
    configured, where = _configured()
    chosen, source = (configured, where) if given is None else (given, "keras_backend")
    if chosen not in BACKENDS:
        raise InvalidInputError(
            f"{source} must be one of {BACKENDS}, got {chosen!r}\n"
            f"Write keras_backend={BACKENDS[0]!r}, or another of these"
        )
    return chosen


def _configured() -> tuple[str, str]:
    variable = os.environ.get("KERAS_BACKEND")
    if variable:
        return variable, "the environment variable KERAS_BACKEND"
    home = os.environ.get("KERAS_HOME")
    path = (Path(home) if home else Path("~/.keras").expanduser()) / "keras.json"
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError):  # Keras ignores a file that it cannot read, too
        settings = {}
    return str(settings.get("backend", "tensorflow")), f'"backend" in {path}'
