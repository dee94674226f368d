"""Whether a session is ready for a stage: every check before anything starts on the cluster.

Whoever adds a check of the session or its cluster adds it here: `fit` raises the first that is not
passed, and `plan` tells all of them.
"""

from dataclasses import dataclass

from pyspark.resource import ResourceProfile
from pyspark.sql import SparkSession

from zoo.orca.driver.session.allocation import check_allocation
from zoo.orca.driver.session.certificate import make_identity
from zoo.orca.driver.session.gpus import gpu_profile
from zoo.orca.driver.session.pythons import check_python
from zoo.orca.driver.session.settings import (
    connect_seconds,
    elastic_patience,
    full_traceback,
    heartbeat_seconds,
)
from zoo.orca.driver.session.slots import check_slots
from zoo.orca.refusals import noted


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What the checks of a session have made and read on their way.

    Parameters
    ----------
    profile : ResourceProfile or None
        Gives each task its GPUs.
    identity : str
        The job's certificate and key; empty if its connections are not encrypted.
    full_traceback : bool
    heartbeat, connect, patience : float
        Seconds, as the session's settings have them.
    """

    profile: ResourceProfile | None
    identity: str
    full_traceback: bool
    heartbeat: float
    connect: float
    patience: float


def check_readiness(spark: SparkSession, workers: int, gpus: int) -> Readiness:
    """Check that a session can run a stage of `workers`, each with so many GPUs.

    Raises
    ------
    InvalidInputError
        If one of Orca's settings is none.
    SlotsError
        If the cluster cannot run all workers at the same time.
    ContextError, MissingPackageError
        If the workers' Python cannot do the work, or this one cannot encrypt; if executors come and
        go, and those that stay have too few slots.
    DeviceError
        If the executors lack the GPUs that workers need.
    """
    full = full_traceback(spark)
    heartbeat, connect = heartbeat_seconds(spark), connect_seconds(spark)
    patience = elastic_patience(spark)
    profile = noted()(gpu_profile)(spark, gpus)
    identity = noted(str)(make_identity)(spark)
    noted()(check_python)(spark)
    noted()(check_allocation)(spark, workers)
    noted()(check_slots)(spark, workers, profile)
    return Readiness(
        profile=profile,
        identity=identity,
        full_traceback=full,
        heartbeat=heartbeat,
        connect=connect,
        patience=patience,
    )
