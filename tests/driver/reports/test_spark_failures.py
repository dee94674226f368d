"""Failures of classic Spark and of Spark Connect, recorded from Spark 4.3, read and told.

``spark_failures/`` has the texts as they came, except that paths and addresses are made up, and
that of each of Java's stacks three lines are left.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoo.orca import errors
from zoo.orca.driver.reports.failures import translate
from zoo.orca.driver.reports.spark_failures import Kind, read_failure
from zoo.orca.driver.session import pythons
from zoo.orca.driver.session.pythons import Python

RECORDED = Path(__file__).with_name("spark_failures")
CAST = '[CAST_INVALID_INPUT] The value \'a10\' of the type "STRING" cannot be cast to "DOUBLE"'
FRAME = '  File "/home/user/train.py", line 28, in bad\n    raise ValueError("bad row")'

# Both tell of the same failures: what is read must be the same.
EXPECTED = {
    "bad_cast": (Kind.SPARK, CAST, '"cast" was called from /home/user/train.py:24'),
    "cancelled": (Kind.CANCELLED, "[", ""),
    "function_dies": (Kind.DIED, "", ""),
    "function_raises": (Kind.FUNCTION, "ValueError: bad row", FRAME),
    "no_such_python": (Kind.NO_SUCH_PYTHON, "/nowhere/python", ""),
    "old_python": (Kind.BROKEN_PYTHON, "AttributeError: module 'importlib.resources'", ""),
    "other_python": (Kind.OTHER_PYTHON, "3.12", ""),
    "package_missing": (Kind.MODULE, "pyarrow", ""),
    "stopped": (Kind.STOPPED, "", ""),
}
CASES = [
    *(
        (f"{kind}_{name}", *told)
        for kind in ("classic", "connect")
        for name, told in EXPECTED.items()
    ),
    ("classic_file_gone", Kind.SPARK, "[FAILED_READ_FILE.FILE_NOT_EXIST] Encountered error", ""),
    ("classic_too_few_slots", Kind.SLOTS, "[SPARK-24819]", ""),
    ("connect_server_gone", Kind.LOST, "Stream removed", ""),
]


@pytest.mark.parametrize(
    ("name", "kind", "message", "detail"), CASES, ids=lambda one: str(one)[:40]
)
def test_recorded_failures_are_read(name: str, kind: Kind, message: str, detail: str) -> None:
    found = read_failure((RECORDED / f"{name}.txt").read_text())
    assert (found.kind, found.detail) == (kind, detail)
    assert found.message.startswith(message)


@pytest.mark.parametrize(
    "after",
    [
        "\n SQLSTATE: 38000\n\tat org.apache.spark.api.python.PythonRunner.scala:1097)",
        "\n\nDriver stacktrace:\n\tat org.apache.spark.scheduler",
        "\n\nJVM stacktrace:\norg.apache.spark.SparkException",
    ],
)
def test_an_error_of_orcas_own_is_what_it_was_on_the_worker(session: Any, after: str) -> None:
    told = "column 'x' holds nulls: 1 of 2 rows, for example row 0\nDrop these rows"
    text = f"[PYTHON_EXCEPTION] An exception was thrown: zoo.orca.errors.DataError: {told}{after}"
    error = translate(Exception(text), 0, session)
    assert type(error) is errors.DataError and str(error) == told and error.traceback == text


def test_an_error_that_an_expression_raises_ends_before_sparks_state(session: Any) -> None:
    told = "labelCol: column 'a SQLSTATE: x' has 1.5, and classes are whole numbers\nMake classes"
    raised = "org.apache.spark.SparkRuntimeException: [USER_RAISED_EXCEPTION]"
    after = " SQLSTATE: P0001\n\tat org.apache.spark"
    text = f"{raised} zoo.orca.errors.DataError: {told}{after}"
    error = translate(Exception(text), 0, session)
    assert type(error) is errors.DataError and str(error) == told


def test_every_recorded_failure_is_expected() -> None:
    assert {path.stem for path in RECORDED.iterdir()} == {name for name, *_ in CASES}


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session as far as translating needs one: a cluster's, whose Python lacks two packages."""
    told = Python(
        executable="/usr/bin/python3", version="3.11.2", lacks=("numpy", "pyarrow"), host="node7"
    )
    monkeypatch.setattr(pythons, "ask_worker", lambda spark: told)
    return SimpleNamespace(conf={"spark.master": "yarn"}, _sc=SimpleNamespace(_jsc=object()))


TOLD = {
    "package_missing": (
        errors.MissingPackageError,
        "the workers' Python, /usr/bin/python3 (3.11.2 on node7), has no numpy and no pyarrow",
    ),
    "other_python": (errors.ContextError, "the workers' Python is 3.12, and this program's is "),
    "no_such_python": (
        errors.ContextError,
        "the workers' Python, /nowhere/python, cannot be started",
    ),
    "old_python": (
        errors.ContextError,
        "the workers' Python cannot be started: AttributeError: module 'importlib.resources' has "
        "no attribute 'files'",
    ),
    "function_raises": (
        errors.WorkerError,
        "a Python function of the DataFrame failed: ValueError: bad row",
    ),
    "function_dies": (errors.WorkerDiedError, "a Python process of Spark's was killed, or crashed"),
    "cancelled": (errors.WorkerError, "the job was cancelled in Spark: ["),
    "stopped": (errors.ContextError, "the Spark session was stopped while the job ran"),
    "bad_cast": (errors.WorkerError, f"Spark could not finish the stage: {CAST}"),
}


@pytest.mark.parametrize("kind", ["classic", "connect"])
@pytest.mark.parametrize("name", TOLD)
def test_the_first_line_names_the_cause(session: Any, name: str, kind: str) -> None:
    text = (RECORDED / f"{kind}_{name}.txt").read_text()
    error = translate(Exception(text), 2, session)
    expected, first = TOLD[name]
    lines = str(error).splitlines()
    assert type(error) is expected
    assert lines[0].startswith(first)
    assert len(lines) in (2, 3) and "\tat " not in str(error)
    assert error.traceback == text


def test_a_process_that_died_is_named_by_the_line_that_broke(session: Any) -> None:
    text = (RECORDED / "classic_function_dies.txt").read_text()
    error = translate(Exception(text), 2, session, lambda: (1, "node7"))
    assert isinstance(error, errors.WorkerDiedError)
    assert str(error).startswith("rank 1 on node7: a Python process of Spark's was killed")
    assert (error.rank, error.host) == (1, "node7")


@pytest.mark.parametrize(
    "words", ["java.io.EOFException", "Connection reset", "java.net.SocketException: Broken pipe"]
)
def test_a_pipe_that_ended_is_a_process_that_died(session: Any, words: str) -> None:
    text = f"An error occurred.\n: org.apache.spark.SparkException: {words}\n\tat a.b(C.java:1)"
    error = translate(Exception(text), 2, session)
    assert isinstance(error, errors.WorkerDiedError)


@pytest.mark.parametrize("words", ["No space left on device", "Read-only file system"])
def test_a_disk_that_takes_no_files_is_named(session: Any, words: str) -> None:
    text = f": org.apache.spark.SparkException: java.io.IOException: {words}\n\tat a.b(C.java:1)"
    error = translate(Exception(text), 2, session)
    assert isinstance(error, errors.WorkerError)
    first, second = str(error).split("\n")
    assert words in first and "spark.local.dir" in second


def test_a_module_of_the_users_is_named_with_the_ways_to_ship_it(session: Any) -> None:
    text = (RECORDED / "classic_package_missing.txt").read_text()
    missing = translate(Exception(text.replace("'pyarrow'", "'tests.source_tree'")), 2, session)
    assert str(missing).startswith("the workers have no module 'tests', which a Python function")
    assert "pyfile=True" in str(missing) and "spark.submit.pyFiles" in str(missing)


def test_a_jvm_that_is_gone_is_a_lost_connection(session: Any) -> None:
    from py4j.protocol import Py4JError

    silent = Py4JError("An error occurred while calling o1.getResult")
    for raised in (ConnectionRefusedError("[Errno 111] Connection refused"), silent):
        error = translate(raised, 2, session)
        assert isinstance(error, errors.ContextError)
        assert str(error).startswith(f"the connection to Spark's JVM was lost: {raised}")


def test_a_stopped_session_is_the_cause_whatever_spark_says(session: Any) -> None:
    session._sc = SimpleNamespace(_jsc=None)
    for words in ("[SPARK_JOB_CANCELLED] Job 1 cancelled", "java.lang.NullPointerException"):
        told = str(translate(Exception(words), 2, session))
        assert told.startswith("the Spark session was stopped while the job ran\n")
