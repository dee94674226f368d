"""One barrier stage: ships a job with its rows, collects the outcome, translates failures."""

import contextlib
import pickle
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from zoo.orca.driver.early_child import early_child
from zoo.orca.driver.elastic.decisions import Terms
from zoo.orca.driver.elastic.watch import Noting, Watch, Watched, watched
from zoo.orca.driver.frame.arrow_batches import quick_batches
from zoo.orca.driver.reports.display import display_for
from zoo.orca.driver.reports.epochs import Epochs
from zoo.orca.driver.reports.failures import raise_failure, translate
from zoo.orca.driver.reports.listener import ReportListener
from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.allocation import barrier_stages
from zoo.orca.driver.session.cluster import executor_cores, is_connect, is_local
from zoo.orca.driver.session.interrupts import interruptible
from zoo.orca.driver.session.properties import local_property
from zoo.orca.driver.session.pythons import workers_python
from zoo.orca.driver.session.readiness import Readiness, check_readiness
from zoo.orca.driver.session.shipping import ship_package
from zoo.orca.errors import ContextError, DataError, SlotsError
from zoo.orca.wire.faults import NO_ROWS
from zoo.orca.wire.job import Job, TrainJob
from zoo.orca.wire.messages.results import RESULTS, Failure, Outcome
from zoo.orca.wire.packing import join
from zoo.orca.worker.task.barrier_task import RESULT_SCHEMA, TaskOptions, make_task

#: Where Spark keeps the description of a thread's jobs.
_DESCRIPTION = "spark.job.description"
#: How often a stage is begun again; Spark does so as often by itself.
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """How a stage runs, apart from what it computes.

    Parameters
    ----------
    workers : int
        Tasks of the stage; each needs its own slot at the same time as all others.
    verbose : int
        0 shows nothing.
    log_to_driver : bool
        Whether to show lines that workers print.
    cpu_binding : bool
        Whether each worker keeps to its own cores.
    name : str
        The user's label, which tells this stage's lines from those of concurrent stages.
    wanted : int
        If more than `workers`: the stage ends at a checkpoint once there are slots for more, up to
        so many.
    """

    workers: int
    verbose: int = 1
    log_to_driver: bool = True
    cpu_binding: bool = False
    name: str = ""
    wanted: int = 0


def run_stage(
    frame: DataFrame,
    job: Job,
    settings: StageSettings,
    title: str,
    epochs: Epochs | None = None,
) -> Outcome:
    """Run `job` over `frame`, which has one partition for each worker; return rank 0's outcome.

    Parameters
    ----------
    frame : DataFrame
        As `zoo.orca.driver.frame.source.prepare` returns it.
    job : Job
    settings : StageSettings
    title : str
        What the stage is called in Spark's UI and in the progress.
    epochs : Epochs or None
        Hears of the epochs that end.

    Raises
    ------
    SlotsError
        If the cluster cannot run all workers at the same time: before anything starts, or because
        executors were lost that did not come back within the patience.
    SlotsAreBack
        If there are slots for more workers, up to ``settings.wanted``.
    ContextError, MissingPackageError
        If the workers' Python cannot do the work, or this one cannot encrypt; if executors come and
        go, and those that stay have too few slots.
    DeviceError
        Before anything starts, if the executors lack the GPUs that workers need.
    OrcaError
        What went wrong on a worker; of several errors the cause, not a consequence.
    """
    spark = frame.sparkSession
    ready = check_readiness(spark, settings.workers, job.gpus)
    ship_package(spark)
    display = display_for(settings.verbose, title, settings.name)
    stage, epochs = _to_watch(job, settings, ready), epochs or Epochs()
    # The watch ends last: until then nothing of the workers' is shown any more.
    with (
        barrier_stages(spark),
        watched(spark, stage) as watch,
        quick_batches(frame),
        ReportListener(
            spark, Noting(display, watch) if watch else display, ready.identity, epochs.hear
        ) as progress,
        early_child(spark, job, settings.workers) as early,
    ):
        _check_heard(epochs, progress)
        options = TaskOptions(
            secret=secrets.token_bytes(32),
            identity=ready.identity,
            report_to=progress.report_to,
            heartbeat=ready.heartbeat,
            connect_timeout=ready.connect,
            executor_cores=executor_cores(spark),
            log_to_driver=settings.log_to_driver and settings.verbose > 0,
            cpu_binding=settings.cpu_binding,
            workers=settings.workers,
            early=early,
        )
        task = make_task(pickle.dumps(job), options)
        with _described(spark, f"{title} {settings.name}".rstrip()):
            # Each time a new plan: the old one would read again what its workers have returned.
            plan = partial(_results, frame, task, ready.profile)
            full = ready.full_traceback
            run = partial(_collected, plan, settings.workers, progress, watch, epochs, full)
            failures, outcome = _attempted(run, settings.workers, watch)
    if failures:
        raise_failure(failures)
    if outcome is None:
        # Adaptive execution saw an empty exchange and left the stage out.
        raise DataError(NO_ROWS)
    return outcome


def _check_heard(epochs: Epochs, progress: ReportListener) -> None:
    """Refuse to start if workers would have to ask, and nobody could hear them."""
    if epochs.asks and progress.report_to is None:
        raise ContextError(
            "stop is asked on this machine after each epoch, and it cannot listen for the workers\n"
            "Give it a host name that it can resolve (/etc/hosts); or leave stop out, and "
            "give callbacks, which run on the workers"
        )


def _to_watch(job: Job, settings: StageSettings, ready: Readiness) -> Watched:
    """Return what of a stage is watched while it runs."""
    return Watched(
        terms=Terms(workers=settings.workers, wanted=settings.wanted, patience=ready.patience),
        profile=ready.profile,
        checkpoints=job.checkpoints if isinstance(job, TrainJob) else "",
    )


def is_left_over(failures: list[Failure], workers: int) -> bool:
    """Whether failures are left over from an attempt that Spark has restarted.

    A worker that lost a peer reports that and ends. If the peer's executor was lost, Spark restarts
    the whole stage. But if the loss shows late, Spark may keep the report as this worker's result
    and run only the other workers. Then no failure names a cause, and not all workers report one.
    """
    if not all(failure.error == "PeerLostError" for failure in failures):
        return False
    incomplete = any(failure.incomplete for failure in failures)
    return incomplete or 0 < len(failures) < workers


def _attempted(
    run: Callable[[], tuple[list[Failure], Outcome | None]], workers: int, watch: Watch | None
) -> tuple[list[Failure], Outcome | None]:
    """Run the stage, and again where Spark cannot because an executor was lost."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            failures, outcome = run()
        except SlotsError as error:
            # The executor was lost while rows moved, before Spark looked for slots for the stage.
            if watch is None or error.slots is not None or attempt == _ATTEMPTS:
                raise
        else:
            if not is_left_over(failures, workers) or attempt == _ATTEMPTS:
                break
        if watch is not None:
            watch.wait_for_slots()
    return failures, outcome


def _results(frame: DataFrame, task: Any, profile: Any) -> DataFrame:
    """Return the stage's rows; nothing runs yet."""
    spark = frame.sparkSession
    with workers_python(spark):
        results = frame.mapInArrow(task, RESULT_SCHEMA, barrier=True, profile=profile)
    if is_local(spark):
        return results
    # After a lost executor Spark restarts a barrier stage only if an exchange follows it. It gives
    # up a job's last stage at once. Locally there is no executor to lose.
    return results.repartition(1)


def _collected(
    plan: Callable[[], DataFrame],
    workers: int,
    progress: ReportListener,
    watch: Watch | None,
    epochs: Epochs,
    full: bool,
) -> tuple[list[Failure], Outcome | None]:
    """Run the stage and read its rows; `full` shows Spark's error above the translated one."""
    results = plan()
    spark = results.sparkSession
    try:
        rows: list[dict[str, Any]] = interruptible(spark, results.toArrow, epochs).to_pylist()
    except spark_errors() as error:
        if watch is not None:
            watch.check()
        # Not `from error`: Python would print Spark's pages of Java above the line that counts.
        found = translate(error, workers, spark, progress.first_lost)
        raise found from (error if full else None)
    return _read(rows)


def _read(rows: list[dict[str, Any]]) -> tuple[list[Failure], Outcome | None]:
    """Return the workers' failures, and rank 0's outcome if there is one."""
    failures: list[Failure] = []
    outcome = None
    for row in rows:
        if row["header"] is not None:
            result = RESULTS.from_text(row["header"])
            if isinstance(result, Failure):
                failures.append(result)
            elif row["rank"] == 0:
                outcome = result
    if outcome is None:
        return failures, None
    pieces = sorted((row for row in rows if row["rank"] == 0), key=lambda row: int(row["piece"]))
    return failures, replace(outcome, state=join(piece["payload"] for piece in pieces))


def _described(spark: SparkSession, title: str) -> contextlib.AbstractContextManager[None]:
    """Name the stage in Spark's UI while it runs, if there is a SparkContext."""
    if is_connect(spark):
        return contextlib.nullcontext()
    return local_property(spark.sparkContext, _DESCRIPTION, f"Orca: {title}")
