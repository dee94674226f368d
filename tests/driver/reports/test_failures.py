"""One error out of many failures."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from zoo.orca import errors
from zoo.orca.driver.reports.failures import raise_failure, translate
from zoo.orca.driver.stage import is_left_over
from zoo.orca.wire.messages.results import RESULTS, Failure

ERRORS = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, errors.OrcaError)
]


def failed(error: str, message: str, rank: int, host: str, **fields: Any) -> Failure:
    return Failure(error=error, message=message, rank=rank, host=host, **fields)


def test_the_cause_comes_before_its_consequences() -> None:
    with pytest.raises(errors.WorkerDiedError) as caught:
        raise_failure(
            [
                failed("PeerLostError", "rank 2 closed", 0, "a"),
                failed("WorkerDiedError", "killed", 2, "c", log=("last words",)),
                failed("PeerLostError", "rank 2 closed", 1, "b"),
            ]
        )
    assert str(caught.value).startswith("rank 2 on c: killed")
    assert "last words" in str(caught.value)
    assert (caught.value.rank, caught.value.host, caught.value.log) == (2, "c", ("last words",))


def test_a_loss_nobody_explains_is_told_as_it_is() -> None:
    with pytest.raises(errors.PeerLostError, match="rank 0 on a"):
        raise_failure([failed("PeerLostError", "silent", 0, "a")])


def test_what_an_attempt_left_over_is_not_the_jobs_end() -> None:
    lost = failed("PeerLostError", "rank 0 closed", 1, "b")
    alone = failed("PeerLostError", "alone", 0, "a", incomplete=True)
    died = failed("WorkerDiedError", "killed", 0, "a")
    assert is_left_over([lost], 2)
    assert is_left_over([alone], 2) and is_left_over([alone, lost], 2)
    # All tell of a loss: the network. One tells of a cause: that is it.
    assert not is_left_over([lost, lost], 2)
    assert not is_left_over([died, lost], 3)
    assert not is_left_over([], 2)


def worker_error(**fields: Any) -> errors.OrcaError:
    """The error that one worker's failure becomes."""
    where = '  File "/home/me/train.py", line 3, in creator\n    1 / 0'
    fields = {"traceback": "Traceback: all of it", "where": where, "log": ("bye",), **fields}
    failure = failed("WorkerError", "ZeroDivisionError: by zero", 1, "b", **fields)
    with pytest.raises(errors.OrcaError) as caught:
        raise_failure([failure])
    return caught.value


def test_the_message_has_the_users_frames_and_the_error_all_of_them() -> None:
    error = worker_error()
    assert str(error).splitlines() == [
        "rank 1 on b: ZeroDivisionError: by zero",
        '  File "/home/me/train.py", line 3, in creator',
        "    1 / 0",
        "",
        "The last lines it printed:",
        "  bye",
    ]
    assert error.traceback == error.remote_traceback == "Traceback: all of it"


def test_versions_that_differ_are_named() -> None:
    import numpy

    same = {"numpy": numpy.__version__, "nowhere": "1.0"}
    assert "Versions" not in str(worker_error(versions=same))
    other = {**same, "python": "3.9.1"}
    python = ".".join(map(str, sys.version_info[:3]))
    expected = f"Versions differ between the worker and here: python 3.9.1 and {python}"
    assert expected in str(worker_error(versions=other)).splitlines()


def test_a_module_of_the_users_is_no_package_to_install() -> None:
    error = worker_error(module="tests.source_tree")
    assert type(error) is errors.CreatorError
    assert str(error).startswith("the workers have no module 'tests.source_tree'")
    assert "pyfile=True" in str(error) and "spark.submit.pyFiles" in str(error)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_travels(kind: type[errors.OrcaError]) -> None:
    failure = RESULTS.from_text(failed(kind.__name__, "told", 1, "h").to_text())
    with pytest.raises(kind, match="told") as caught:
        raise_failure([failure])
    assert type(caught.value) is kind


def test_an_unknown_name_is_a_worker_error() -> None:
    assert errors.error_class("Nonsense") is errors.WorkerError
    assert errors.error_class("annotations") is errors.WorkerError


def test_sparks_error_is_told_in_one_sentence() -> None:
    spark = SimpleNamespace(conf={"spark.master": "yarn"}, _sc=SimpleNamespace(_jsc=object()))
    text = """An error occurred while calling o1.collect.
: org.apache.spark.SparkException: Job aborted due to stage failure: it failed
	at org.apache.spark.Foo.bar(Foo.scala:1)
Caused by: java.lang.IllegalStateException: disk is full
	at org.apache.spark.Foo.baz(Foo.scala:2)
"""
    assert str(translate(Exception(text), 2, spark)).endswith("stage: disk is full")
    text = """An error occurred while calling o119.getResult.
: org.apache.spark.SparkException: Exception thrown in awaitResult:
	at org.apache.spark.Foo.bar(Foo.scala:1)
Caused by: org.apache.spark.SparkException: Job aborted: barrier task (0, 0) failed.
org.apache.spark.SparkRuntimeException: [USER_RAISED_EXCEPTION] bad row
	at org.apache.spark.Foo.baz(Foo.scala:2)
"""
    told = str(translate(Exception(text), 2, spark))
    assert told.endswith("stage: [USER_RAISED_EXCEPTION] bad row")
    slots = translate(
        Exception("[SPARK-24819]: Barrier execution mode does not allow run"), 7, spark
    )
    assert isinstance(slots, errors.SlotsError)
    assert "7 workers" in str(slots)
