"""How many threads a child starts, and which jobs a warm one serves."""

import pytest

from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import BuildJob, Job, ModelSpec, PredictJob
from zoo.orca.worker.task.threads import threads_for


def job_of(kind: type[Job], framework: str, **environment: str) -> Job:
    model = ModelSpec(framework=framework, creator=b"", config=b"")
    columns = FeatureSpec(features=())
    return kind(model=model, columns=columns, state=None, seed=0, environment=environment)


def test_the_number_of_threads_is_the_environment_s() -> None:
    wanted = threads_for(job_of(BuildJob, "tf2"), 3)
    assert wanted.environment == {"OMP_NUM_THREADS": "3", "NPROC": "3"}


@pytest.mark.parametrize(
    ("kind", "framework", "backend", "served"),
    [
        (BuildJob, "tf2", None, {2}),
        (PredictJob, "tf2", None, {2, 3, 8, 9}),
        (BuildJob, "keras", "jax", {2}),
        (PredictJob, "keras", "jax", {2, 3, 8, 9}),
        (BuildJob, "keras", "torch", {1, 2, 3, 8, 9}),
        (BuildJob, "torch", None, {1, 2, 3, 8, 9}),
        (PredictJob, "torch", None, {1, 2, 3, 8, 9}),
    ],
)
def test_which_children_serve_a_job_with_two_threads(
    kind: type[Job], framework: str, backend: str | None, served: set[int]
) -> None:
    environment = {"KERAS_BACKEND": backend} if backend else {}
    wanted = threads_for(job_of(kind, framework, **environment), 2)
    assert {count for count in (1, 2, 3, 8, 9) if wanted.allow(count)} == served


def test_a_child_with_the_threads_of_a_job_alone_is_kept_beside_others() -> None:
    wanted = threads_for(job_of(BuildJob, "tf2"), 1, alone=4)
    assert wanted.count == 1 and wanted.allow(4) and not wanted.allow(5)
