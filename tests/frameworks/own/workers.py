"""Workers of threads: what a user's function gets, without children or Spark."""

from collections.abc import Callable
from typing import Any

from tests.worker.collective.ring_processes import on_all, thread_ring
from zoo.orca.errors import OrcaError
from zoo.orca.frameworks.own.plugin import Own
from zoo.orca.frameworks.own.worker import Worker
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import LoopJob, ModelSpec
from zoo.orca.wire.messages.progress import Progress
from zoo.orca.wire.packing import State, pack
from zoo.orca.wire.saved.nests import from_state
from zoo.orca.worker.collective.protocol import Alone, Collective
from zoo.orca.worker.plugin import Rows, World


def loop_job(function: Callable[..., Any], arguments: dict[str, Any], **fields: Any) -> LoopJob:
    """A job as the driver makes it."""
    model = ModelSpec(
        framework="own", creator=pack(function, "train"), config=pack(arguments, "arguments")
    )
    given = {"columns": FeatureSpec(features=()), "state": None, "seed": 0, **fields}
    return LoopJob(model=model, **given)


def on_workers(size: int, function: Callable[[Worker], Any]) -> list[Any]:
    """What a function returns on each of several workers, or the error that it raised."""

    def call(collective: Collective) -> Any:
        worker = Worker(collective, None, lambda progress: None, None, None)
        try:
            return function(worker)
        except OrcaError as error:
            return error

    if size == 1:
        return [call(Alone())]
    with thread_ring(size) as rings:
        return on_all(rings, call)


def run_plugin(
    collective: Collective,
    function: Callable[..., Any],
    rows: Rows | None = None,
    progress: list[Progress] | None = None,
    **arguments: Any,
) -> Any:
    """What the plug-in makes of a function on one rank; None but on rank 0."""
    told: list[Progress] = [] if progress is None else progress
    plugin = Own()
    plugin._function, plugin._arguments = function, arguments
    job = loop_job(len, {})
    state = plugin.run(job, rows, World(collective=collective, report=told.append), None)
    return None if state is None else from_state(State.from_bytes(state.to_bytes()))
