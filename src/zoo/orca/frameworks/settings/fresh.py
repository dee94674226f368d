"""Framework settings from before any job: a warm child must be like a fresh one.

A framework has process-wide settings, and a creator may change them. A job must begin with the
settings at the framework's import, before any user code ran. Keras and creators also import
frameworks beside the backend.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from zoo.orca.frameworks.settings.at_import import when_imported

#: How a setting is read and how it is written.
Setting = tuple[Callable[[], Any], Callable[[Any], Any]]

#: Maps a framework's import name to the module of this folder that has its `SETTINGS`.
_MODULES = {"tensorflow": "of_tensorflow", "jax": "of_jax", "torch": "of_torch"}


class Fresh:
    """Settings that are noted once, and restored from then on.

    Parameters
    ----------
    settings : sequence of (get, set)
    """

    def __init__(self, settings: Sequence[Setting]) -> None:
        self._settings = settings
        self._noted: list[Any] | None = None

    def note(self) -> None:
        """Note the current settings, unless already done."""
        if self._noted is None:
            self._noted = [get() for get, _ in self._settings]

    def renew(self) -> None:
        """Restore the noted settings."""
        self.note()
        for (get, put), value in zip(self._settings, self._noted or (), strict=True):
            if get() != value:
                put(value)


def renew_settings() -> None:
    """Restore the settings of every imported framework to those of a fresh process.

    Called at the start of each job, before user code runs. The settings of a framework that user
    code imports are noted at its import.
    """
    for name in _MODULES:
        if sys.modules.get(name) is not None:
            _settings(name).renew()
        else:
            when_imported(name, _note)


def _note(name: str) -> None:
    _settings(name).note()


def _settings(name: str) -> Fresh:
    module = importlib.import_module(f"zoo.orca.frameworks.settings.{_MODULES[name]}")
    found: Fresh = module.SETTINGS
    return found
