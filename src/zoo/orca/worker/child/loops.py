"""A user's own function as a job: what it goes on from, what it leaves, what it returns."""

from collections.abc import Callable
from dataclasses import replace

from zoo.orca.errors import WorkerError
from zoo.orca.wire.checkpoints import Checkpoint
from zoo.orca.wire.job import LoopJob
from zoo.orca.wire.messages.progress import Warned
from zoo.orca.wire.messages.results import Outcome
from zoo.orca.wire.packing import State
from zoo.orca.worker.child.checkpoint import Checkpoints
from zoo.orca.worker.plugin import OwnLoop, Rows, World, is_too_large


def run_loop(loop: OwnLoop, job: LoopJob, data: Rows | None, world: World) -> Outcome:
    """Run the function from the newest checkpoint on; called on all ranks."""
    checkpoints = Checkpoints(job.checkpoints)
    newest = checkpoints.newest(world.collective, lambda text: world.report(Warned(text=text)))
    if newest is not None:
        job = replace(job, state=newest.state.to_bytes())
    keep = _keeper(checkpoints) if job.checkpoints else None
    try:
        returned = loop.run(job, data, world, keep)
    except BaseException:
        # The driver tidies up after a failure. A later write would undo that.
        checkpoints.abandon()
        raise
    checkpoints.finish()
    state, path = _taken(returned, job, checkpoints)
    return Outcome(
        columns=data.spec if data is not None else job.columns,
        outputs=(),
        is_canonical=data is not None and data.plan.is_canonical,
        state_at=path,
        state=state,
    )


def _keeper(checkpoints: Checkpoints) -> Callable[[State], None]:
    def keep(state: State) -> None:
        checkpoints.save(Checkpoint(state=state, history={}))

    return keep


def _taken(returned: State | None, job: LoopJob, checkpoints: Checkpoints) -> tuple[bytes, str]:
    """Return the bytes of what rank 0 returned, or the path that they were written to.

    Raises
    ------
    WorkerError
        If they are too large for the stage's rows and there is no `model_dir`.
    """
    if returned is None:
        return b"", ""
    if not is_too_large(returned.nbytes, job):
        return returned.to_bytes(), ""
    if not job.checkpoints:
        raise WorkerError(
            f"what train returned weighs {returned.nbytes / 2**20:,.1f} MiB, and Spark lets "
            f"results weigh {job.max_state_bytes / 2**20:,.1f} MiB\nRaise "
            "spark.driver.maxResultSize, or give the Distributor a model_dir that driver and "
            "workers reach"
        )
    return b"", checkpoints.keep(returned)
