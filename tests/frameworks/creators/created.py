"""Trains on warm ranks with data that creators make there, and by plain loops."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.frameworks.bench import Bench, columns
from tests.frameworks.ranks import SEED, Ran, Ranks, job_of, train_here
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import CreatorSpec, TrainJob
from zoo.orca.wire.packing import pack
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created

Creator = Callable[[dict[str, Any], int], Any]
BATCH = 24
NOTHING = FeatureSpec(features=())


def created(
    creator: Creator,
    role: str = "train",
    *,
    batch_size: int = BATCH,
    config: dict[str, Any] | None = None,
    argument: str = "data",
    report: Callable[[Any], None] = lambda progress: None,
) -> Created:
    """What a job makes of a creator."""
    spec = CreatorSpec(creator=pack(creator, argument), config=pack({}, "data_config"))
    return Created(
        creator=spec,
        config=pack(config or {}, "config"),
        argument=argument,
        batch_size=batch_size,
        seed=SEED,
        role=role,
        report=report,
        at_end=lambda function: None,
    )


def train(
    ranks: Ranks,
    model: Any,
    data: Creator,
    workers: int,
    *,
    framework: str,
    config: dict[str, Any] | None = None,
    validation: Creator | None = None,
    batch_size: int = BATCH,
    **fields: Any,
) -> list[Ran]:
    """Train on so many ranks."""
    given = created(data, batch_size=batch_size, config=config)
    seen = None
    if validation is not None:
        seen = created(
            validation,
            "evaluate",
            batch_size=batch_size,
            config=config,
            argument="validation_data",
        )
    job = job_of(
        TrainJob,
        model,
        NOTHING,
        batch_size=batch_size,
        framework=framework,
        config=config,
        **fields,
    )
    job = replace(job, creator=given.creator)
    run: Callable[[Collective], Ran] = lambda collective: train_here(  # noqa: E731
        job, given, seen, collective
    )
    return ranks.run([run] * workers)


def on(bench: Bench, data: Creator, workers: int, **fields: Any) -> list[Ran]:
    """Train the embedding model of a framework."""
    fields.setdefault("config", bench.config())
    family = bench.family
    return train(bench.ranks, family.embedding, data, workers, framework=family.framework, **fields)


def batch(framework: str, rows: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """Rows as a batch for the embedding model of a framework."""
    if framework == "torch":
        return (rows["x"], rows["u"]), rows["y"]
    return (rows["x"], rows["u"][:, None]), rows["y"][:, None]


def cut(rows: dict[str, np.ndarray], low: int, high: int) -> dict[str, np.ndarray]:
    """Some of the rows."""
    return {name: values[low:high] for name, values in rows.items()}


def all_rows(count: int = 100) -> dict[str, np.ndarray]:
    """The rows of these tests."""
    return columns(count)
