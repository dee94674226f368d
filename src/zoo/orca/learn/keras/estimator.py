"""`Estimator.from_keras` for Keras 3 on any of its backends, with Orca's signatures."""

from collections.abc import Callable, Mapping
from typing import Any, Self

from zoo.orca.learn.docstrings import described_by
from zoo.orca.learn.keras.backend import checked_backend
from zoo.orca.learn.keras_estimator import KerasEstimator
from zoo.orca.learn.transforms import BatchTransform

_NAMES = {"jax": "JAX", "torch": "torch"}


class Estimator(KerasEstimator):
    """Trains a Keras model on Spark DataFrames. Make one with `from_keras`."""

    _framework = "keras"

    @property
    def _numbers_only(self) -> str:
        chosen = self._options.environment["KERAS_BACKEND"]
        return "" if chosen == "tensorflow" else f"Keras on {_NAMES[chosen]}"

    @classmethod
    @described_by(KerasEstimator.from_keras)
    def from_keras(
        cls,
        *,
        model_creator: Callable[[dict[str, Any]], Any] | None = None,
        config: Mapping[str, Any] | None = None,
        verbose: bool = False,
        workers_per_node: int = 1,
        compile_args_creator: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        backend: str = "tf2",
        cpu_binding: bool | None = None,
        model_dir: str | None = None,
        log_to_driver: bool = True,
        num_workers: int | None = None,
        seed: int = 0,
        keras_backend: str | None = None,
        num_gpus_per_worker: int = 0,
        min_workers: int | None = None,
        batch_transform: BatchTransform | None = None,
        gradient_dtype: str = "float32",
    ) -> Self:
        """Return an estimator for the model that `model_creator` returns.

        All other parameters and errors are as in `zoo.orca.learn.tf2`.

        Parameters
        ----------
        cpu_binding : bool, optional
            Whether each worker keeps to its own cores. By default on JAX alone, which otherwise
            starts as many threads in each worker as there are cores.
        keras_backend : str, optional
            "jax", "tensorflow" or "torch"; by default the one that Keras is set to on the driver,
            by KERAS_BACKEND or ``~/.keras/keras.json``. Workers need no other framework.
        """
        chosen = checked_backend(keras_backend)
        return cls._make(
            {"KERAS_BACKEND": chosen},
            model_creator=model_creator,
            config=config,
            workers_per_node=workers_per_node,
            compile_args_creator=compile_args_creator,
            backend=backend,
            cpu_binding=chosen == "jax" if cpu_binding is None else cpu_binding,
            model_dir=model_dir,
            log_to_driver=log_to_driver,
            num_workers=num_workers,
            seed=seed,
            num_gpus_per_worker=num_gpus_per_worker,
            min_workers=min_workers,
            batch_transform=batch_transform,
            gradient_dtype=gradient_dtype,
        )
