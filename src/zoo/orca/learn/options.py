"""How an estimator's jobs run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zoo.orca.learn.arguments import check_seed, positive


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an estimator's jobs run.

    Parameters
    ----------
    num_workers : int or None
        Workers of a `fit` or `evaluate`; None means `workers_per_node` on every node.
    workers_per_node : int
    seed : int
        Fixes the placement and order of rows and the initial weights.
    log_to_driver : bool
        Whether the driver shows lines that workers print.
    cpu_binding : bool
        Whether each worker keeps to its own cores.
    model_dir : str or None
        A directory that driver and workers reach, for checkpoints.
    environment : dict
        Variables to set before the framework is imported.
    noise : tuple of str
        Substrings of the log lines that the framework prints at every start.
    num_gpus_per_worker : int
        GPUs that each worker, and each task of `predict`, has to itself.
    """

    num_workers: int | None = None
    workers_per_node: int = 1
    seed: int = 0
    log_to_driver: bool = True
    cpu_binding: bool = False
    model_dir: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    noise: tuple[str, ...] = ()
    num_gpus_per_worker: int = 0

    def check(self) -> None:
        """Raise for impossible numbers."""
        positive("num_workers", self.num_workers, optional=True)
        positive("workers_per_node", self.workers_per_node)
        positive("num_gpus_per_worker", self.num_gpus_per_worker, least=0)
        check_seed(self.seed)
