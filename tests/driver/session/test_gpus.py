"""What a stage asks Spark for when workers want GPUs: profiles, settings, refusals."""

from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.session import gpus
from zoo.orca.driver.session.gpus import gpu_profile, schedules_no_gpus
from zoo.orca.errors import DeviceError, InvalidInputError
from zoo.orca.learn.options import EngineOptions

EXECUTOR, TASK = "spark.executor.resource.gpu.amount", "spark.task.resource.gpu.amount"


def session(master: str = "spark://host:7077", **conf: object) -> Any:
    """What of a session is asked: its settings."""
    settings = {"spark.master": master} | {key: str(value) for key, value in conf.items()}
    return SimpleNamespace(
        conf=SimpleNamespace(get=lambda key, default=None: settings.get(key, default))
    )


@pytest.fixture
def built(monkeypatch) -> list[tuple[int, int]]:
    """GPUs and cores of every profile that is built; building takes a JVM."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(gpus, "_build", lambda *wanted: found.append(wanted))
    return found


def test_without_gpus_nothing_is_asked(built):
    assert gpu_profile(session("mystery"), 0) is None
    assert built == []


@pytest.mark.parametrize(
    "master", ["spark://h:7077", "yarn", "k8s://https://h", "local-cluster[1,2,1024]"]
)
def test_a_profile_gives_tasks_what_executors_have(built, master):
    gpu_profile(session(master, **{EXECUTOR: 2}), 1)
    assert built == [(1, 1)]


@pytest.mark.parametrize(
    ("executor", "cores", "task_cpus", "wanted", "cpus"),
    [
        (1, 8, 1, 1, 8),
        (4, 8, 1, 1, 2),
        (4, 8, 1, 2, 4),
        (4, 8, 1, 3, 8),
        (8, 4, 1, 1, 1),
        (4, 4, 2, 1, 2),
    ],
)
def test_cores_run_out_with_the_gpus(built, executor, cores, task_cpus, wanted, cpus):
    conf = {EXECUTOR: executor, "spark.executor.cores": cores, "spark.task.cpus": task_cpus}
    gpu_profile(session(**conf), wanted)
    assert built == [(wanted, cpus)]


def test_a_fraction_for_other_tasks_is_overruled(built):
    gpu_profile(session(**{EXECUTOR: 1, TASK: 0.25}), 1)
    assert built == [(1, 1)]


@pytest.mark.parametrize("master", ["yarn", "mystery"])
def test_plain_settings_do_without_a_profile(built, master):
    conf = {EXECUTOR: 2, TASK: 2, "spark.dynamicAllocation.enabled": "true"}
    assert gpu_profile(session(master, **conf), 2) is None
    assert built == []


@pytest.mark.parametrize("conf", [{}, {EXECUTOR: 1}])
def test_executors_without_the_gpus_are_refused_with_the_setting(built, conf):
    with pytest.raises(
        DeviceError, match=r"spark\.executor\.resource\.gpu\.amount=2.*discoveryScript"
    ):
        gpu_profile(session(**conf), 2)
    assert built == []


@pytest.mark.parametrize(
    ("master", "conf", "why"),
    [
        ("mystery", {}, "on 'mystery'"),
        ("yarn", {"spark.dynamicAllocation.enabled": "true"}, "dynamicAllocation"),
    ],
)
def test_where_there_are_no_profiles_the_plain_setting_is_named(built, master, conf, why):
    with pytest.raises(DeviceError, match=rf"{why}.*\n.*spark\.task\.resource\.gpu\.amount=1"):
        gpu_profile(session(master, **{EXECUTOR: 1}, **conf), 1)


@pytest.mark.parametrize(
    ("master", "without"),
    [("local", True), ("local[*]", True), ("local[4, 3]", True), ("local-cluster[1,1,512]", False)],
)
def test_local_mode_schedules_none(master, without):
    assert schedules_no_gpus(session(master)) is without


def test_local_mode_warns_and_asks_for_nothing(built):
    with pytest.warns(UserWarning, match="share out those of this machine"):
        assert gpu_profile(session("local[2]"), 1) is None


def test_the_profile_is_one_that_spark_knows(spark: SparkSession):
    resources = gpus._build(2, 3).taskResources
    assert {name: one.amount for name, one in resources.items()} == {"cpus": 3.0, "gpu": 2.0}


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "1", None])
def test_the_option_is_a_whole_number(wrong):
    model = FakeEstimator.of(linear())._model
    with pytest.raises(
        InvalidInputError, match="num_gpus_per_worker must be a whole number from 0"
    ):
        FakeEstimator(model, EngineOptions(num_gpus_per_worker=wrong))


@pytest.mark.timeout(120)
def test_a_machine_without_so_many_gpus_says_so(spark: SparkSession):
    data = spark.range(20).selectExpr("id / 20.0D AS x", "id / 10.0D AS y")
    model = FakeEstimator.of(linear())._model
    estimator = FakeEstimator(model, EngineOptions(num_workers=2, num_gpus_per_worker=999))
    with (
        pytest.warns(UserWarning, match="share out"),
        pytest.raises(
            DeviceError, match=r"rank \d on .*=999, and .* GPUs\n.*num_gpus_per_worker=0"
        ),
    ):
        estimator.fit(data)
