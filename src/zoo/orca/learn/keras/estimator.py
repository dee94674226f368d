"""`Estimator.from_keras` for Keras 3 on any of its backends, with Orca's signatures."""

from collections.abc import Callable, Mapping
from typing import Any

from zoo.orca.learn.estimator import EngineOptions
from zoo.orca.learn.keras.backend import checked_backend
from zoo.orca.learn.keras_estimator import NOISE, KerasEstimator, keras_model


class Estimator(KerasEstimator):
    """Trains a Keras model on Spark DataFrames. Make one with `from_keras`."""

    @classmethod
    def from_keras(
        cls,
        *,
        model_creator: Callable[[dict[str, Any]], Any],
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
    ) -> "Estimator":
        """Return an estimator for the model that `model_creator` returns.

        Parameters
        ----------
        model_creator : callable
            ``model_creator(config)`` runs on every worker and returns a Keras model, compiled for
            `fit` and `evaluate` unless `compile_args_creator` is given. Import the framework
            inside it.
        config : dict, optional
            What the creators are called with. `batch_size` belongs to `fit`, not here.
        verbose : bool
            Accepted as in Orca; `fit` and `evaluate` have a `verbose` of their own.
        workers_per_node : int
            Workers on each node of the cluster.
        compile_args_creator : callable, optional
            ``compile_args_creator(config)`` returns the keyword arguments for `Model.compile`.
        backend : str
            "tf2", "ray", "horovod" or "spark"; all mean the one engine there is.
        cpu_binding : bool, optional
            Whether each worker keeps to its own cores. By default on JAX alone, which otherwise
            starts as many threads in each worker as there are cores.
        model_dir : str, optional
            A directory that driver and workers reach, for checkpoints.
        log_to_driver : bool
            Whether lines that workers print are shown.
        num_workers : int, optional
            Workers in all; by default `workers_per_node` on each node, one on a single machine.
        seed : int
            Fixes where rows are placed, their order, and the initial weights.
        keras_backend : str, optional
            "jax", "tensorflow" or "torch"; by default the one Keras itself is set to on the
            driver, by KERAS_BACKEND or ``~/.keras/keras.json``. Workers need no other framework.
        num_gpus_per_worker : int
            GPUs that each worker, and each task of `predict`, has to itself.

        Raises
        ------
        CreatorError
            If a creator cannot be sent to the workers; names the object in the way.
        InvalidInputError
            If an argument cannot be used.
        """
        model = keras_model("keras", model_creator, config, compile_args_creator, backend)
        chosen = checked_backend(keras_backend)
        options = EngineOptions(
            num_workers,
            workers_per_node,
            seed,
            log_to_driver,
            chosen == "jax" if cpu_binding is None else cpu_binding,
            model_dir,
            {"KERAS_BACKEND": chosen, "TF_CPP_MIN_LOG_LEVEL": "2"},
            NOISE,
            num_gpus_per_worker,
        )
        return cls(model, options)
