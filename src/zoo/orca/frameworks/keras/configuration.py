"""Keras's configuration at its import; a creator may have changed it since."""

import json
import os
from pathlib import Path
from typing import Any

_DEFAULTS = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}


def keras_settings() -> dict[str, Any]:
    """Return the settings of ``keras.json`` in KERAS_HOME or ``~/.keras``, or Keras's defaults."""
    home = os.environ.get("KERAS_HOME")
    # Path.expanduser would raise for a user without a home, which containers may have.
    path = Path(home or os.path.expanduser("~/.keras"), "keras.json")
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):  # Keras also ignores a file that it cannot read
        found = {}
    return {name: found.get(name, value) for name, value in _DEFAULTS.items()}
