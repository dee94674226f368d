"""A process that is a client of Spark Connect alone: it can import no part that needs Java.

``pyspark-client`` has neither py4j nor `pyspark.core`. Without them no JVM can be started. As a
plug-in of pytest (``-p tests.connect.client --connect sc://host:port``) this module makes the
process of the tests such a client, and chooses the tests.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import pytest

MISSING = ("py4j", "pyspark.core")

#: Files and folders whose tests have a session, and cannot run on a server.
LEFT_OUT = {
    "tests/driver/elastic/test_watch.py": "no slots are told, so nothing is watched",
    "tests/driver/frame/test_arrow_batches.py": "only there have jobs their thread's properties",
    "tests/driver/frame/test_partitions.py": "only there does a plan tell its partitions",
    "tests/driver/reports/test_attempts.py": "a server does not tell what became of attempts",
    "tests/learn/test_ended.py": "its programs start and end sessions of their own",
}


class _Missing(MetaPathFinder):
    """Finds nothing of what a client does not have, and says so."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in MISSING or name.startswith(tuple(f"{one}." for one in MISSING)):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def be_a_client() -> None:
    """Let this process import what ``pyspark-client`` has, and nothing else of pyspark."""
    there = [name for name in sys.modules if name in MISSING]
    assert not there, f"too late: {there} are imported already"
    sys.meta_path.insert(0, _Missing())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--connect",
        metavar="URL",
        default="",
        help="run the tests that have a session on this Spark Connect server, without Java here",
    )


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Become a client before a folder's conftest.py imports pyspark."""
    if early_config.known_args_namespace.connect:
        be_a_client()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take tests without a session from the list; skip those that need classic Spark."""
    if not config.getoption("--connect"):
        return
    used: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        (used if "spark" in getattr(item, "fixturenames", ()) else left).append(item)
        if why := _why_not(item):
            item.add_marker(pytest.mark.skip(reason=f"classic Spark alone: {why}"))
    items[:] = used
    config.hook.pytest_deselected(items=left)


def _why_not(item: pytest.Item) -> str:
    """Return why a test cannot run on a server; nothing if it can."""
    file = item.nodeid.partition("::")[0]
    for name, why in LEFT_OUT.items():
        if file == name or file.startswith(f"{name}/"):
            return why
    return next((str(marker.args[0]) for marker in item.iter_markers("classic")), "")
