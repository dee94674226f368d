"""Ranks as processes of their own: a framework's seeds, policies and graphs are one per process.

They stay warm for the whole run, as the children of Spark's workers do.
"""

import gc
import itertools
import multiprocessing
import os
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle
import numpy as np

from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.job import EvaluateJob, Job, ModelSpec, PredictJob, TrainJob
from zoo.orca.wire.messages.progress import Progress
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import pack
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.wire.torch_options import TorchOptions
from zoo.orca.worker.child.predicting import Calls
from zoo.orca.worker.child.runner import load_framework
from zoo.orca.worker.child.transforming import transformed, transformed_sample, transforming
from zoo.orca.worker.collective.protocol import Alone, Collective
from zoo.orca.worker.collective.ring import Listener, Ring
from zoo.orca.worker.plugin import Data as AnyData
from zoo.orca.worker.plugin import Evaluated, Rows, Trained, World
from zoo.orca.worker.timings import Stopwatch

SECONDS = 120
SEED = 7


#: What TensorFlow must find before it is imported: which Keras `tf.keras` is.
TF2_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}


def _serve(connection: Any, environment: Mapping[str, str]) -> None:
    """Run what is sent, over a ring of as many ranks as each call says."""
    os.environ.update(environment)
    modules = len(sys.modules)
    while True:
        try:
            rank, size, secret, function = cloudpickle.loads(connection.recv_bytes())
        except EOFError:
            return
        collective: Collective = Alone()
        try:
            if size > 1:
                listener = Listener("127.0.0.1")
                connection.send(listener.address)
                addresses = connection.recv()
                collective = Ring.connect(listener, rank, addresses, secret, timeout=SECONDS)
            answer = (True, function(collective))
            # As the child does: an early finisher's closed socket must not look like a loss.
            collective.barrier()
        except Exception as error:
            answer = (False, (type(error), str(error), traceback.format_exc()))
        finally:
            collective.close()
        connection.send_bytes(cloudpickle.dumps(answer))
        del answer, function
        # Keras collects garbage before each job. What a framework's import made is a million
        # objects to look through, for half a second of each job; left out from now on.
        if len(sys.modules) > modules + 200:
            gc.collect()
            gc.freeze()
            modules = len(sys.modules)


class Failed(Exception):
    """What one rank raised."""

    def __init__(self, rank: int, kind: type, message: str, trace: str) -> None:
        super().__init__(f"rank {rank}: {kind.__name__}: {message}\n{trace}")
        self.rank, self.kind, self.message = rank, kind, message


@dataclass
class Ranks:
    """Warm processes, as many as a test needs, with `environment` before they import anything."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(TF2_ENVIRONMENT))
    _processes: list[Any] = field(default_factory=list)
    _connections: list[Any] = field(default_factory=list)

    def run(self, functions: Sequence[Callable[[Collective], Any]]) -> list[Any]:
        """Return what each rank's function returns; raises the first rank's failure."""
        answers = self.try_run(functions)
        for answer in answers:
            if isinstance(answer, Failed):
                raise answer
        return answers

    def try_run(self, functions: Sequence[Callable[[Collective], Any]]) -> list[Any]:
        """Return what each rank's function returns, or a `Failed`."""
        size, secret = len(functions), secrets.token_bytes(16)
        self._grow(size)
        used = self._connections[:size]
        for rank, (connection, function) in enumerate(zip(used, functions, strict=True)):
            connection.send_bytes(cloudpickle.dumps((rank, size, secret, function)))
        if size > 1:
            addresses = [self._receive(connection).recv() for connection in used]
            for connection in used:
                connection.send(addresses)
        answers = []
        for rank, connection in enumerate(used):
            good, value = cloudpickle.loads(self._receive(connection).recv_bytes())
            answers.append(value if good else Failed(rank, *value))
        return answers

    def alone(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function returns in a process that has the framework."""
        return self.run([lambda collective: function(*args)])[0]

    def close(self) -> None:
        """End the processes."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(10)
            process.kill()

    def _grow(self, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        while len(self._processes) < size:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self.environment), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._connections.append(ours)

    def _receive(self, connection: Any) -> Any:
        assert connection.poll(SECONDS), "a rank does not answer"
        return connection


@dataclass
class Data:
    """Rows on several ranks, and what they are.

    `shards` has one dict of columns for each rank.
    """

    shards: list[dict[str, np.ndarray]]
    spec: FeatureSpec

    @classmethod
    def of(
        cls,
        columns: Mapping[str, np.ndarray],
        counts: Sequence[int],
        *,
        features: Sequence[str] | Mapping[str, str],
        labels: Sequence[str] | Mapping[str, str] = ("y",),
        weight: str | Mapping[str, str] | None = None,
    ) -> "Data":
        """Cut columns into shards of so many rows."""
        ends = np.cumsum(counts)
        assert ends[-1] == len(next(iter(columns.values())))
        cuts = {name: np.split(values, ends[:-1]) for name, values in columns.items()}
        shards = [{name: parts[k] for name, parts in cuts.items()} for k in range(len(counts))]
        specs = {name: _spec(name, values) for name, values in columns.items()}
        by_name = isinstance(features, Mapping)
        names = list(features.values()) if by_name else list(features)
        spec = FeatureSpec(
            features=tuple(specs[name] for name in names),
            labels=tuple(
                specs[name] for name in (labels.values() if isinstance(labels, Mapping) else labels)
            ),
            feature_keys=tuple(features) if by_name else None,
            label_keys=tuple(labels) if isinstance(labels, Mapping) else None,
            weight=specs[weight] if isinstance(weight, str) else None,
            output_weights=tuple((k, specs[n]) for k, n in weight.items())
            if isinstance(weight, Mapping)
            else (),
        )
        return cls(shards, spec)

    def plan(self, batch_size: int, *, shuffle: bool = True) -> PlacedPlan:
        """The plan of the steps over these rows."""
        counts = tuple(len(next(iter(shard.values()))) for shard in self.shards)
        return PlacedPlan(counts=counts, batch_size=batch_size, seed=SEED, shuffle=shuffle)

    def rows(self, rank: int, batch_size: int, *, shuffle: bool = True) -> Rows:
        """One rank's rows."""
        return Rows(
            spec=self.spec, columns=self.shards[rank], plan=self.plan(batch_size, shuffle=shuffle)
        )

    def batches(self, batch_size: int, steps: int) -> list[dict[str, np.ndarray]]:
        """The global batches of the first steps: all ranks' rows, one after another."""
        plan = self.plan(batch_size)
        per_rank = [list(itertools.islice(plan.steps(r), steps)) for r in range(len(self.shards))]
        return [
            {
                name: np.concatenate([s[name][per_rank[r][k]] for r, s in enumerate(self.shards)])
                for name in self.shards[0]
            }
            for k in range(steps)
        ]

    def in_order(self, batch_size: int, steps: int) -> "Data":
        """The global batches of the first steps as rows of one rank, to be taken unshuffled."""
        batches = self.batches(batch_size, steps)
        columns = {n: np.concatenate([batch[n] for batch in batches]) for n in self.shards[0]}
        return Data([columns], self.spec)

    def merged(self) -> "Data":
        """The same rows on one rank."""
        columns = {n: np.concatenate([s[n] for s in self.shards]) for n in self.shards[0]}
        return Data([columns], self.spec)


def _spec(name: str, values: np.ndarray) -> ColumnSpec:
    dtype = "string" if values.dtype == object else values.dtype.name
    return ColumnSpec(name=name, dtype=dtype, shape=values.shape[1:])


def job_of(
    kind: type[Job],
    creator: Callable[[Any], Any],
    spec: FeatureSpec,
    *,
    config: Any = None,
    state: Any = None,
    compile_args: Any = None,
    callbacks: Any = None,
    framework: str = "tf2",
    batch_transform: Any = None,
    **fields: Any,
) -> Any:
    """A job as the driver makes it."""
    model = ModelSpec(
        framework=framework,
        creator=pack(creator, "model_creator"),
        config=pack(config or {}, "config"),
        compile_args=pack(compile_args, "compile_args_creator") if compile_args else None,
        transform=pack(batch_transform, "batch_transform") if batch_transform else None,
    )
    if callbacks is not None:
        fields["callbacks"] = pack(callbacks, "callbacks")
    if "options" in fields:
        info = pack(fields["options"].get("info", {}), "info")
        fields["options"] = TorchOptions(**{**fields["options"], "info": info})
    packed = state.to_bytes() if state is not None else None
    return kind(model=model, columns=spec, state=packed, seed=SEED, **fields)


@dataclass
class Ran:
    """What one rank's `train` returned, what it reported, and how long it took."""

    trained: Trained
    progress: list[Progress]
    timings: Stopwatch | None = None
    seconds: float = 0.0

    def weights(self) -> dict[str, np.ndarray]:
        """The weights alone."""
        tensors = self.trained.state.tensors
        return {name: value for name, value in tensors.items() if name.startswith("weights/")}


def train_here(job: Any, rows: AnyData, validation: AnyData | None, collective: Collective) -> Ran:
    """Train on this rank."""
    job = _unpacked(job)
    progress: list[Progress] = []
    began = time.perf_counter()
    timings = Stopwatch() if job.profile else None
    world = World(
        collective=collective,
        report=progress.append,
        timings=timings,
        rounds_gradients=job.rounds_gradients,
    )
    plugin = plugin_of(job)
    plugin.prepare(job, 1)
    with transforming(job) as transform:
        rows = transformed(rows, job, world, transform, training=True)
        if validation is not None:
            validation = transformed(validation, job, world, transform, training=False)
        trained = plugin.train(job, rows, validation, world)
    # Taken on every rank, unlike in a job, because tests compare them.
    trained = replace(trained, state=trained.state())
    if timings is not None:
        timings.end("taking the state")
    return Ran(trained, progress, timings, time.perf_counter() - began)


def _evaluate(job: Any, rows: Rows, collective: Collective) -> Evaluated:
    job = _unpacked(job)
    world = World(collective=collective, report=lambda progress: None)
    plugin = plugin_of(job)
    plugin.prepare(job, 1)
    with transforming(job) as transform:
        rows = transformed(rows, job, world, transform, training=False)
        return plugin.evaluate(job, rows, world)


def plugin_of(job: Any) -> Any:
    """The plug-in that a job names."""
    return load_framework(job)


def _unpacked(job: Any) -> Any:
    return job() if callable(job) else job


def train(
    ranks: Ranks,
    creator: Callable[[Any], Any],
    data: Data,
    *,
    validation: Data | None = None,
    batch_size: int = 32,
    make_callbacks: Callable[[], list[Any]] | None = None,
    shuffle: bool = True,
    **fields: Any,
) -> list[Ran]:
    """Train on all ranks; `make_callbacks` runs where Keras is."""
    job = job_of(
        TrainJob, creator, data.spec, batch_size=batch_size, validate=bool(validation), **fields
    )

    def function(rank: int) -> Callable[[Collective], Ran]:
        rows = data.rows(rank, batch_size, shuffle=shuffle)
        seen = validation.rows(rank, batch_size, shuffle=False) if validation else None

        def run(collective: Collective) -> Ran:
            given = job
            if make_callbacks is not None:
                given = replace(job, callbacks=cloudpickle.dumps(make_callbacks()))
            return train_here(given, rows, seen, collective)

        return run

    return ranks.run([function(rank) for rank in range(len(data.shards))])


def evaluate(
    ranks: Ranks,
    creator: Callable[[Any], Any],
    data: Data,
    *,
    batch_size: int = 32,
    **fields: Any,
) -> list[dict[str, float]]:
    """Evaluate on all ranks; the metrics of each."""
    job = job_of(EvaluateJob, creator, data.spec, batch_size=batch_size, **fields)

    def function(rank: int) -> Callable[[Collective], Evaluated]:
        rows = data.rows(rank, batch_size, shuffle=False)
        return lambda collective: _evaluate(job, rows, collective)

    done = ranks.run([function(rank) for rank in range(len(data.shards))])
    found = [dict(evaluated.metrics) for evaluated in done]
    if job.model.framework == "torch":
        rows = sum(len(next(iter(shard.values()))) for shard in data.shards)
        steps = fields.get("steps")
        told = rows if steps is None else min(rows, steps * batch_size)
        assert {one.pop("num_samples") for one in found} == {told}
    return found


def predict_job(creator: Callable[[Any], Any], spec: FeatureSpec, **fields: Any) -> Any:
    """A job of `predict`."""
    return job_of(PredictJob, creator, spec, **fields)


def predicted(job: Any, columns: Mapping[str, Any]) -> tuple[list[Any], tuple[OutputSpec, ...]]:
    """Outputs as a child predicts them, and what they are; runs where the framework is."""
    plugin = plugin_of(job)
    sample, inputs = transformed_sample(columns, job, job.columns)
    built = replace(job, columns=inputs)
    outputs = plugin.build(built, {name: values[:2] for name, values in sample.items()}).outputs
    job = replace(job, outputs=outputs, inputs=inputs if job.model.transform else None)
    return Calls(plugin.predictor(replace(built, outputs=outputs)), job)(columns), outputs


def same_on_all(ran: Sequence[Ran]) -> None:
    """All ranks end with the same weights and the same history, bit for bit."""
    for other in ran[1:]:
        assert other.trained.history == ran[0].trained.history
        for name, value in ran[0].weights().items():
            np.testing.assert_array_equal(other.weights()[name], value, err_msg=name)
