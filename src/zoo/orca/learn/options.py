"""How an estimator's jobs run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zoo.orca.errors import InvalidInputError
from zoo.orca.files import whole_path
from zoo.orca.learn.arguments import check_gradient_dtype, check_seed, positive
from zoo.orca.refusals import noted


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
        A directory that driver and workers reach, for checkpoints. A relative one is of the
        program's directory, not of a worker's.
    min_workers : int or None
        The fewest workers that a call goes on with after executors were lost; None means all.
    environment : dict
        Variables to set before the framework is imported.
    noise : tuple of str
        Substrings of the log lines that the framework prints at every start.
    num_gpus_per_worker : int
        GPUs that each worker, and each task of `predict`, has to itself.
    gradient_dtype : str
        What gradients of float32 are sent as between hosts: "float32" or "bfloat16".
    """

    num_workers: int | None = None
    workers_per_node: int = 1
    seed: int = 0
    log_to_driver: bool = True
    cpu_binding: bool = False
    model_dir: str | None = None
    min_workers: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    noise: tuple[str, ...] = ()
    num_gpus_per_worker: int = 0
    gradient_dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.model_dir is not None:
            object.__setattr__(self, "model_dir", whole_path(self.model_dir))

    def check(self) -> None:
        """Raise for impossible numbers."""
        positive("num_workers", self.num_workers, optional=True)
        positive("workers_per_node", self.workers_per_node)
        positive("num_gpus_per_worker", self.num_gpus_per_worker, least=0)
        check_seed(self.seed)
        check_gradient_dtype(self.gradient_dtype)
        positive("min_workers", self.min_workers, optional=True)
        if self.min_workers is not None and self.model_dir is None:
            raise InvalidInputError(
                f"min_workers={self.min_workers} needs model_dir: a fit goes on with fewer workers "
                "from a checkpoint there\nGive the estimator a model_dir that driver and workers "
                "reach, or leave min_workers out"
            )
        if self.num_workers is not None:
            self.check_least(self.num_workers)

    @noted()
    def check_least(self, workers: int) -> None:
        """Raise if a call would have fewer workers than it must have."""
        if self.min_workers is not None and self.min_workers > workers:
            raise InvalidInputError(
                f"min_workers={self.min_workers} is more than the {workers} workers that a call "
                f"has\nWrite min_workers={workers} or less, or ask for more workers (num_workers)"
            )
