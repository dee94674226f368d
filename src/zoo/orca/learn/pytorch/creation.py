"""How an estimator of PyTorch models is made: Orca's `from_torch`."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

from zoo.orca.learn.options import EngineOptions
from zoo.orca.learn.pytorch.recipe import recipe, torch_model
from zoo.orca.learn.pytorch.saving import TorchFiles
from zoo.orca.learn.transforms import BatchTransform, packed_transform


class FromTorch(TorchFiles):
    """An estimator that is made of a PyTorch model and what trains it."""

    @classmethod
    def from_torch(
        cls,
        *,
        model: Any = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        scheduler_creator: Callable[..., Any] | None = None,
        training_operator_cls: type | None = None,
        initialization_hook: Callable[[], Any] | None = None,
        config: Mapping[str, Any] | None = None,
        scheduler_step_freq: str | None = None,
        use_tqdm: bool = False,
        workers_per_node: int = 1,
        num_workers: int | None = None,
        model_dir: str | None = None,
        backend: str = "spark",
        sync_stats: bool = False,
        log_level: int = logging.INFO,
        log_to_driver: bool = True,
        cpu_binding: bool = False,
        seed: int = 0,
        num_gpus_per_worker: int = 0,
        sync_batch_norm: bool = False,
        min_workers: int | None = None,
        batch_transform: BatchTransform | None = None,
        gradient_dtype: str = "float32",
    ) -> Self:
        """Return an estimator for a PyTorch model.

        Parameters
        ----------
        model : callable or torch.nn.Module, optional
            A function ``model(config)`` that runs on every worker and returns a module; a class of
            one; or a module, which goes to the workers as it is now. Without one, `load` brings a
            model of TorchScript.
        optimizer : callable, class or torch.optim.Optimizer, optional
            A function ``optimizer(model, config)``; a class, which gets the model's parameters (and
            ``config["lr"]`` if there is one); or an optimizer over the parameters of `model`, if
            that is a module. Each worker makes it anew for its parameters. Needed for `fit`.
        loss : callable, class or torch.nn.Module, optional
            A loss of ``torch.nn``, as object or class; a function of output and target; or a
            function ``loss(config)`` that returns one of these.
        metrics : object, optional
            Metrics of `zoo.orca.learn.metrics` or torchmetrics, or functions
            ``metric(output, target)``: one, a list, a dict by name, or a function of `config` that
            returns one of these. `evaluate`, validation and training steps compute them.
        scheduler_creator : callable, optional
            ``scheduler_creator(optimizer, config)`` returns a learning-rate schedule.
        training_operator_cls : class, optional
            A subclass of `TrainingOperator`, whose hooks replace parts of the steps.
        initialization_hook : callable, optional
            Called on every worker before the model is made.
        config : dict, optional
            The argument for the creators. `batch_size` belongs to `fit`, not here.
        scheduler_step_freq : "batch" or "epoch", optional
            When the schedule takes a step: after each update, or after each epoch. By default
            `OneCycleLR`, `CyclicLR` and the schedules of transformers step after each update,
            others after each epoch; the first `fit` says which. `ReduceLROnPlateau` always steps
            after each epoch, by ``val_loss``, or by the loss if there is none.
        use_tqdm : bool
            Accepted as in Orca, without effect: `fit(verbose=)` decides what is shown.
        workers_per_node : int
            Workers on each node of the cluster.
        num_workers : int, optional
            Workers in all; by default `workers_per_node` on each node, one on a single machine.
        model_dir : str, optional
            A directory that driver and workers reach, for checkpoints.
        backend : str
            "bigdl", "horovod", "torch_distributed", "spark" or "ray"; all mean the same engine.
        sync_stats : bool
            Accepted as in Orca, without effect: results always cover all workers.
        log_level : int
            Accepted as in Orca, without effect: set that of the logger ``zoo`` with ``logging``.
        log_to_driver : bool
            Whether to show lines that workers print.
        cpu_binding : bool
            Whether each worker keeps to its own cores.
        seed : int
            Fixes the placement and order of rows, the initial weights and dropout.
        num_gpus_per_worker : int
            GPUs that each worker, and each task of `predict`, has to itself.
        sync_batch_norm : bool
            Whether batch normalisation uses the statistics of the global batch. By default each
            worker uses its own rows, and running statistics are averaged after each epoch.
        min_workers : int, optional
            The fewest workers; by default all. If executors are lost in mid-training for longer
            than ``spark.orca.elastic.patience`` (60 s), `fit` goes on from the newest checkpoint in
            `model_dir` with the workers that fit, and takes more once there are slots again.
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
            If a part cannot be sent to the workers; names the object at fault.
        InvalidInputError
            If an argument cannot be used.
        """
        parts = recipe(
            model=model,
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            scheduler_creator=scheduler_creator,
            training_operator_cls=training_operator_cls,
            initialization_hook=initialization_hook,
            scheduler_step_freq=scheduler_step_freq,
            sync_batch_norm=sync_batch_norm,
        )
        spec = torch_model(backend, config, parts)
        options = EngineOptions(
            num_workers=num_workers,
            workers_per_node=workers_per_node,
            seed=seed,
            log_to_driver=log_to_driver,
            cpu_binding=cpu_binding,
            model_dir=model_dir,
            num_gpus_per_worker=num_gpus_per_worker,
            min_workers=min_workers,
            gradient_dtype=gradient_dtype,
        )
        spec = replace(spec, transform=packed_transform(batch_transform))
        made = cls(spec, options)
        made._parts = parts
        return made
