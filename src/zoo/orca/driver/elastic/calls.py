"""How a call of the user's goes on with fewer workers, and tells of it."""

import logging

from pyspark.sql import SparkSession

from zoo.orca.driver.elastic.rounds import Elastic
from zoo.orca.driver.reports.display import say
from zoo.orca.driver.session.settings import elastic_patience
from zoo.orca.driver.stage import StageSettings
from zoo.orca.wire.job import Job, TrainJob

_logger = logging.getLogger(__name__)


def going_on(
    title: str, job: Job, settings: StageSettings, least: int, spark: SparkSession
) -> Elastic:
    """Return how a call goes on with at least so many workers."""
    directory, first = (
        (job.checkpoints, job.initial_epoch) if isinstance(job, TrainJob) else ("", 0)
    )

    def tell(text: str) -> None:
        line = f"{settings.name or title}: {text}"
        if settings.verbose > 0:
            say(line)
        else:
            _logger.warning(line)

    return Elastic(
        wanted=settings.wanted,
        least=least,
        patience=elastic_patience(spark),
        master=spark.conf.get("spark.master", "") or "",
        checkpoints=directory,
        first_epoch=first,
        tell=tell,
    )
