"""The plug-in for Keras 2 (`tf_keras`) and Keras 3 on TensorFlow, whichever the creator returns."""

import importlib
import importlib.util

from zoo.orca.frameworks.keras.backends import on_tensorflow
from zoo.orca.frameworks.keras.base_plugin import KerasPlugin
from zoo.orca.frameworks.keras.models import legacy_keras
from zoo.orca.frameworks.settings.fresh import renew_settings
from zoo.orca.wire.job import Job
from zoo.orca.worker.plugin import Framework


class Tf2(KerasPlugin):
    """Implements `zoo.orca.worker.plugin.Framework`."""

    def prepare(self, job: Job, threads: int) -> None:
        """Set threads and import the Keras that `tensorflow.keras` means, while rows move."""
        on_tensorflow.prepare(threads)
        renew_settings()
        name = "tf_keras" if legacy_keras() else "keras"
        # A creator may import the other one. A missing package raises when it is used.
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)


def framework() -> Framework:
    """Return the plug-in."""
    return Tf2()
