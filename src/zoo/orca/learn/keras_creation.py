"""How all estimators of Keras models are made: Orca's `from_keras`."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from zoo.orca.learn.arguments import check_creator, check_engine, checked_config
from zoo.orca.learn.keras_saving import KerasFiles
from zoo.orca.learn.options import EngineOptions
from zoo.orca.learn.transforms import BatchTransform, packed_transform
from zoo.orca.wire.job import ModelSpec
from zoo.orca.wire.packing import pack

#: Engines of the original.
_ENGINES = ("tf2", "ray", "horovod", "spark")

#: What TensorFlow prints on a machine without a GPU, before it heeds a log level.
_NOISE = (
    "before absl::InitializeLog()",
    "cudart_stub.cc",
    "cuda_platform.cc",
    "oneDNN custom operations are on",
)


class FromKeras(KerasFiles):
    """An estimator that is made of a creator of Keras models."""

    #: The plug-in's name.
    _framework: ClassVar[str]

    @classmethod
    def from_keras(
        cls,
        *,
        model_creator: Callable[[dict[str, Any]], Any] | None = None,
        config: Mapping[str, Any] | None = None,
        verbose: bool = False,
        workers_per_node: int = 1,
        compile_args_creator: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        backend: str = "tf2",
        cpu_binding: bool = False,
        model_dir: str | None = None,
        log_to_driver: bool = True,
        num_workers: int | None = None,
        seed: int = 0,
        num_gpus_per_worker: int = 0,
        min_workers: int | None = None,
        batch_transform: BatchTransform | None = None,
        gradient_dtype: str = "float32",
    ) -> Self:
        """Return an estimator for the model that `model_creator` returns.

        Parameters
        ----------
        model_creator : callable, optional
            ``model_creator(config)`` runs on every worker and returns a Keras model, compiled for
            `fit` and `evaluate` unless `compile_args_creator` is given. Import the framework
            inside it. Without one, `load` brings the model from a file.
        config : dict, optional
            The argument for the creators. `batch_size` belongs to `fit`, not here.
        verbose : bool
            Accepted as in Orca; `fit` and `evaluate` have their own `verbose`.
        workers_per_node : int
            Workers on each node of the cluster.
        compile_args_creator : callable, optional
            ``compile_args_creator(config)`` returns the keyword arguments for `Model.compile`.
        backend : str
            "tf2", "ray", "horovod" or "spark"; all mean the same engine.
        cpu_binding : bool
            Whether each worker keeps to its own cores.
        model_dir : str, optional
            A directory that driver and workers reach, for checkpoints.
        log_to_driver : bool
            Whether to show lines that workers print.
        num_workers : int, optional
            Workers in all; by default `workers_per_node` on each node, one on a single machine.
        seed : int
            Fixes the placement and order of rows and the initial weights.
        num_gpus_per_worker : int
            GPUs that each worker, and each task of `predict`, has to itself.
        min_workers : int, optional
            The fewest workers. If executors are lost in mid-training and do not come back within
            ``spark.orca.elastic.patience`` (60 s), `fit` goes on from the newest checkpoint with
            the workers that fit, and takes more at the end of an epoch once there are slots again.
            Needs `model_dir`. By default all workers are needed.
        batch_transform : callable, optional
            ``batch_transform(columns, training)`` runs on the workers. It gets batches of rows, a
            dict of numpy arrays by the names of the DataFrame's columns, and returns the model's
            inputs, labels and weights in the same way. If it takes a third argument, that is a
            random generator of numpy, which is new for each step.
        gradient_dtype : "float32" or "bfloat16"
            What gradients of float32 are sent as between hosts. "bfloat16" halves their bytes and
            keeps 8 significant bits of each number, so training is no longer exact. All workers
            still have the same weights. Sums within a host, and those between GPUs, keep their
            digits.

        Raises
        ------
        CreatorError
            If a creator cannot be sent to the workers; names the object at fault.
        InvalidInputError
            If an argument cannot be used.
        """
        return cls._make(
            cls._environment(),
            model_creator=model_creator,
            config=config,
            workers_per_node=workers_per_node,
            compile_args_creator=compile_args_creator,
            backend=backend,
            cpu_binding=cpu_binding,
            model_dir=model_dir,
            log_to_driver=log_to_driver,
            num_workers=num_workers,
            seed=seed,
            num_gpus_per_worker=num_gpus_per_worker,
            min_workers=min_workers,
            batch_transform=batch_transform,
            gradient_dtype=gradient_dtype,
        )

    @classmethod
    def _environment(cls) -> dict[str, str]:
        """Return the environment variables that choose Keras on the workers."""
        return {}

    @property
    def _numbers_only(self) -> str:
        """The framework's name, if it has no tensors of strings."""
        return ""

    @classmethod
    def _make(
        cls,
        environment: Mapping[str, str],
        *,
        model_creator: Callable[[dict[str, Any]], Any] | None,
        config: Mapping[str, Any] | None,
        compile_args_creator: Callable[[dict[str, Any]], dict[str, Any]] | None,
        backend: str,
        batch_transform: BatchTransform | None,
        **options: Any,
    ) -> Self:
        """Check the arguments of `from_keras`; `options` go to `EngineOptions`."""
        if model_creator is not None:
            check_creator("model_creator", model_creator, "a compiled model", "config")
        if compile_args_creator is not None:
            arguments = "the keyword arguments of Model.compile, as a dict"
            check_creator("compile_args_creator", compile_args_creator, arguments, "config")
        check_engine(backend, _ENGINES)
        model = ModelSpec(
            framework=cls._framework,
            creator=b"" if model_creator is None else pack(model_creator, "model_creator"),
            config=pack(checked_config(config), "config"),
            compile_args=pack(compile_args_creator, "compile_args_creator")
            if compile_args_creator
            else None,
            transform=packed_transform(batch_transform),
        )
        environment = {**environment, "TF_CPP_MIN_LOG_LEVEL": "2"}
        return cls(model, EngineOptions(environment=environment, noise=_NOISE, **options))
