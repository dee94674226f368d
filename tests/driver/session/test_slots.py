"""Slots that a Spark Connect server tells of in its settings; classic Spark is asked itself."""

import time

import pytest

from zoo.orca.driver.session.slots import check_slots
from zoo.orca.errors import SlotsError


class Server:
    """A session of Spark Connect, as far as its slots go."""

    __module__ = "pyspark.sql.connect.session"

    def __init__(self, master, **settings):
        settings = {name.replace("_", "."): value for name, value in settings.items()}
        self.conf = {"spark.master": master, **settings}


@pytest.mark.parametrize(
    ("server", "slots"),
    [
        (Server("local"), 1),
        (Server("local[2]"), 2),
        (Server("local[4, 3]", spark_task_cpus="2"), 2),
        (Server("yarn", spark_executor_instances="3", spark_executor_cores="2"), 6),
    ],
    ids=lambda one: one.conf["spark.master"] if isinstance(one, Server) else str(one),
)
def test_more_workers_than_the_server_has_slots(server, slots):
    check_slots(server, slots)
    started = time.monotonic()
    with pytest.raises(SlotsError) as caught:
        check_slots(server, slots + 1)
    assert time.monotonic() - started < 5  # nothing is waited for that cannot come
    first, second = str(caught.value).splitlines()
    assert first.endswith(f"{server.conf['spark.master']} has {slots}")
    assert f"num_workers={slots}), or raise the server's spark." in second
    assert "init_orca_context" not in second  # a client cannot set it


def test_where_settings_do_not_tell_the_server_is_asked_by_the_stage():
    check_slots(Server("local[*]"), 99)
    check_slots(Server("yarn", spark_executor_cores="2"), 99)
    elastic = {"spark_executor_instances": "1", "spark_executor_cores": "1"}
    check_slots(Server("yarn", **elastic, spark_dynamicAllocation_enabled="true"), 99)
