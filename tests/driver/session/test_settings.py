"""Settings in the Spark session, and what they are when nobody sets them."""

import pytest

from tests.driver.session.test_cluster import Server
from zoo.orca.driver.session.settings import (
    connect_seconds,
    data_memory,
    elastic_patience,
    full_traceback,
    heartbeat_seconds,
    max_result_bytes,
    transform_processes,
)
from zoo.orca.errors import InvalidInputError

pytestmark = pytest.mark.timeout(120)


class Session:
    """What `zoo.orca.driver.session.settings` asks a session for."""

    def __init__(self, **settings):
        settings = {name.replace("_", "."): value for name, value in settings.items()}
        self.conf = {"spark.master": "yarn", **settings}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1048576", 1 << 20),
        ("256m", 256 << 20),
        ("256MB", 256 << 20),
        (" 2g ", 2 << 30),
        ("1.5k", 1536),
        ("7b", 7),
        ("0", 1),
    ],
)
def test_sizes_are_written_as_in_spark(text, expected):
    assert data_memory(Session(spark_orca_data_memory=text)) == expected


@pytest.mark.parametrize("text", ["much", "12q", "-1g", "m", "1 2g"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InvalidInputError) as caught:
        data_memory(Session(spark_orca_data_memory=text))
    assert str(caught.value) == (
        f"spark.orca.data.memory={text!r} is not a size\n"
        "Write bytes, or a unit that Spark knows: 256m or 2g"
    )


def test_the_default_is_a_quarter_of_an_executors_memory():
    assert data_memory(Session()) == 256 << 20
    assert data_memory(Session(spark_executor_memory="8g", spark_driver_memory="1g")) == 2 << 30
    assert data_memory(Session(spark_executor_memory="4096")) == 1 << 30  # Spark means MiB
    local = Session(spark_master="local[2]", spark_driver_memory="2g", spark_executor_memory="8g")
    assert data_memory(local) == 512 << 20
    server = Server("local[2]", {"spark.driver.memory": "2g"})
    assert data_memory(server) == 512 << 20
    apart = {"spark.driver.memory": "8g", "spark.executor.memory": "2g"}
    assert data_memory(Server("local-cluster[2,1,2048]", apart)) == 512 << 20


def test_a_real_session_knows_its_memory(spark):
    assert data_memory(spark) == 512 << 20


def test_the_limit_of_results():
    assert max_result_bytes(Session()) == 1 << 30
    assert max_result_bytes(Session(**{"spark.driver.maxResultSize": "512m"})) == 512 << 20
    assert max_result_bytes(Session(**{"spark.driver.maxResultSize": "0"})) == 0


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("1.5", 1.5), ("90s", 90), ("2m", 120), ("500ms", 0.5)]
)
def test_times_are_written_as_in_spark(text, expected):
    assert heartbeat_seconds(Session(spark_orca_heartbeat_timeout=text)) == expected


@pytest.mark.parametrize("text", ["soon", "-1", "0", "5 minutes"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidInputError) as caught:
        connect_seconds(Session(spark_orca_connect_timeout=text))
    assert str(caught.value) == (
        f"spark.orca.connect.timeout={text!r} is not a time\n"
        "Write seconds, as in 90, or a unit that Spark knows, as in 90s, 2m or 1h"
    )
    assert connect_seconds(Session()) == elastic_patience(Session()) == 60
    assert elastic_patience(Session(spark_orca_elastic_patience="2m")) == 120


def test_processes_are_a_whole_number():
    assert transform_processes(Session()) == 0
    assert transform_processes(Session(spark_orca_transform_processes="3")) == 3
    for text in ("two", "-1", "1.5"):
        with pytest.raises(InvalidInputError, match="is not a number of processes\nWrite a whole"):
            transform_processes(Session(spark_orca_transform_processes=text))


def test_a_flag_is_true_or_false():
    assert full_traceback(Session(spark_orca_full_traceback="True")) is True
    assert full_traceback(Session()) is False
    with pytest.raises(InvalidInputError, match="spark.orca.full.traceback='yes' is neither"):
        full_traceback(Session(spark_orca_full_traceback="yes"))
