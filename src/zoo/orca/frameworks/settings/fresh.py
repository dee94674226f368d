"""Settings of frameworks as they were before any job: a warm child must be like a fresh one.

A framework keeps settings for the whole process, and a creator may change them. What a job has to
begin with is what the framework had when it was imported here, before any user code ran. Keras
imports other frameworks beside its backend, and creators do.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

#: How a setting is read, and how it is written.
Setting = tuple[Callable[[], Any], Callable[[Any], Any]]

#: By the name under which a framework is imported, the module of this folder that has `SETTINGS`.
_MODULES = {"tensorflow": "of_tensorflow", "jax": "of_jax", "torch": "of_torch"}


class Fresh:
    """Settings that are noted once, and given back from then on.

    Parameters
    ----------
    settings : sequence of (get, set)
    """

    def __init__(self, settings: Sequence[Setting]) -> None:
        self._settings = settings
        self._noted: list[Any] | None = None

    def note(self) -> None:
        """Note the settings as they are, unless that was done."""
        if self._noted is None:
            self._noted = [get() for get, _ in self._settings]

    def renew(self) -> None:
        """Make the settings those that were noted."""
        self.note()
        for (get, put), value in zip(self._settings, self._noted or (), strict=True):
            if get() != value:
                put(value)


def renew_settings() -> None:
    """Give every framework that this process has imported the settings of a fresh process.

    Called at the beginning of each job, before user code runs.
    """
    for settings in _imported():
        settings.renew()


def note_settings() -> None:
    """Note the settings of frameworks that this job's preparations have imported."""
    for settings in _imported():
        settings.note()


def _imported() -> Iterator[Fresh]:
    for name, module in _MODULES.items():
        if sys.modules.get(name) is not None:
            yield importlib.import_module(f"zoo.orca.frameworks.settings.{module}").SETTINGS
