"""The plug-in for Keras 3 on TensorFlow, JAX or torch, as KERAS_BACKEND says."""

import importlib
import importlib.util
import os
import socket
import sys

from zoo.orca.errors import MissingPackageError
from zoo.orca.frameworks.keras.backends.chosen import backend_of
from zoo.orca.frameworks.keras.base_plugin import KerasPlugin
from zoo.orca.frameworks.settings.fresh import renew_settings
from zoo.orca.wire.job import Job
from zoo.orca.worker.plugin import Framework

#: The packages of each backend, and the extras that install them.
_NEEDS = {
    "jax": ("jax", "keras"),
    "tensorflow": ("tensorflow", "keras,tf2"),
    "torch": ("torch", "keras,torch"),
}


class Keras(KerasPlugin):
    """Implements `zoo.orca.worker.plugin.Framework`."""

    def prepare(self, job: Job, threads: int) -> None:
        """Import Keras and its backend, with the job's number of threads."""
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        package, extras = _NEEDS[backend]
        for name in ("keras", package):
            if importlib.util.find_spec(name) is None:
                raise MissingPackageError(
                    f"the package {name!r} is not installed on the worker {socket.gethostname()}\n"
                    f"Install it there: pip install 'zoo-orca[{extras}]' into its Python"
                )
        if backend == "jax" and threads == 1 and "jax" not in sys.modules:
            # Read when JAX is imported. XLA's pools cost more than they gain on one processor.
            own = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {own}".strip()
        importlib.import_module("keras")
        renew_settings()
        backend_of(backend).prepare(threads)


def framework() -> Framework:
    """Return the plug-in."""
    return Keras()
