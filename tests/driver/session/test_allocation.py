"""Executors that come and go: what is refused, what can run, and what is put back."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from zoo.orca.driver.session.allocation import barrier_stages, check_allocation
from zoo.orca.errors import ContextError

ENABLED = "spark.dynamicAllocation.enabled"
KEPT = "spark.dynamicAllocation.minExecutors"


class Settings(dict[str, str]):
    """A SparkConf."""

    def set(self, key: str, value: str) -> None:
        self[key] = value


class Session:
    """A classic session whose executors come and go."""

    def __init__(self, master: str = "yarn", **settings: str) -> None:
        named = {key.replace("_", "."): value for key, value in settings.items()}
        self.conf = {"spark.master": master, ENABLED: "true", **named}
        self.asked = Settings({ENABLED: "true"})
        scala = SimpleNamespace(conf=lambda: self.asked)
        self.sparkContext = SimpleNamespace(_jsc=SimpleNamespace(sc=lambda: scala))


class Server(Session):
    """A session of Spark Connect whose server's executors come and go."""

    __module__ = "pyspark.sql.connect.session"


@pytest.mark.parametrize(
    ("settings", "workers"),
    [
        ({"spark_dynamicAllocation_minExecutors": "3"}, 3),
        ({"spark_dynamicAllocation_minExecutors": "2", "spark_executor_cores": "4"}, 8),
        (
            {
                "spark_dynamicAllocation_minExecutors": "2",
                "spark_executor_cores": "4",
                "spark_task_cpus": "2",
            },
            4,
        ),
    ],
)
def test_workers_fit_on_the_executors_that_stay(settings: dict[str, str], workers: int) -> None:
    session: Any = Session(**settings)
    check_allocation(session, workers)
    with pytest.raises(ContextError):
        check_allocation(session, workers + 1)
    # The server's settings cannot be told anything.
    with pytest.raises(ContextError):
        check_allocation(Server(**settings), 1)


def test_the_error_names_the_settings_that_let_the_stage_start() -> None:
    session: Any = Session(spark_executor_cores="2")
    with pytest.raises(ContextError) as caught:
        check_allocation(session, 5)
    first, way = str(caught.value).split("\n")
    assert first == (
        f"Spark starts no barrier stage, as one of 5 workers is, while {ENABLED} is true"
    )
    assert way == (
        f"Start the session with {ENABLED}=false and spark.executor.instances=3; or with {KEPT}=3, "
        "which always stay"
    )
    # The ways out.
    session.conf |= {KEPT: "3"}
    check_allocation(session, 5)
    session.conf |= {KEPT: "0", ENABLED: "false"}
    check_allocation(session, 5)
    with pytest.raises(ContextError) as caught:
        check_allocation(Server(spark_executor_cores="2"), 5)
    assert str(caught.value).split("\n")[1] == (
        f"Start the Spark Connect server with {ENABLED}=false and spark.executor.instances=3"
    )


@pytest.mark.parametrize("master", ["local", "local[4]", "local[*]"])
def test_in_local_mode_spark_asks_for_no_executors(master: str) -> None:
    for session in (Session(master), Server(master)):
        found: Any = session
        check_allocation(found, 99)
        with barrier_stages(found):
            assert session.asked[ENABLED] == "true"


def test_the_last_of_several_stages_puts_the_setting_back() -> None:
    session: Any = Session()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with barrier_stages(session):
            inside.set()
            assert leave.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(30)
    with pytest.raises(KeyError), barrier_stages(session):
        assert session.asked[ENABLED] == "false"
        raise KeyError
    assert session.asked[ENABLED] == "false"
    leave.set()
    thread.join()
    assert session.asked[ENABLED] == "true"
    assert session.conf[ENABLED] == "true"
    with barrier_stages(session):
        session.sparkContext._jsc = None  # stopped meanwhile
    assert session.asked[ENABLED] == "false"
