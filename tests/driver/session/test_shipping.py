"""The package goes to the executors once, whichever session and thread asks for it."""

import gc
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo.orca.driver.session import shipping
from zoo.orca.driver.session.shipping import ship_package


class Session:
    """A session that takes its time to be sent a file."""

    def __init__(self, context):
        self.conf = {"spark.master": "spark://h:7077"}
        self.sparkContext = context

    def addArtifacts(self, path, pyfile):
        time.sleep(0.2)
        self.sparkContext.files.append(path)


class Context:
    """The context behind sessions, and the files that it was given."""

    def __init__(self):
        self.files = []


@pytest.fixture(autouse=True)
def small_package(monkeypatch):
    def build(directory):
        (directory / "package.zip").write_bytes(b"code")
        return directory / "package.zip"

    monkeypatch.setattr(shipping, "build_zip", build)
    monkeypatch.setattr(shipping, "is_own_python", lambda spark: False)


def test_sessions_of_one_context_share_it_and_outlive_it():
    context = Context()
    ship_package(Session(context))
    gc.collect()
    ship_package(Session(context))
    (file,) = context.files
    assert Path(file).exists()
    other = Context()
    ship_package(Session(other))
    assert len(other.files) == 1
    del context
    gc.collect()
    assert not Path(file).exists()


def test_no_thread_goes_on_before_the_package_is_there():
    context = Context()
    there = []

    def fit():
        ship_package(Session(context))
        there.append(len(context.files))

    threads = [threading.Thread(target=fit) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert there == [1, 1, 1]


def test_a_package_that_did_not_arrive_is_sent_again():
    context = Context()

    def lost(path, pyfile):
        raise ConnectionError("lost")

    with pytest.raises(ConnectionError):
        ship_package(
            SimpleNamespace(
                conf={"spark.master": "spark://h:7077"}, sparkContext=context, addArtifacts=lost
            )
        )
    ship_package(Session(context))
    assert len(context.files) == 1
