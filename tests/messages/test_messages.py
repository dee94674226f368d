"""The likeliest mistakes, and the head of what a user sees of each.

``recorded.txt`` is to be read from top to bottom. Nobody should find a line there that they would
not want to read at two in the morning: the first names the cause, the second the way out. After a
change that is meant, ``pytest tests/messages --record-messages`` writes it anew.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.jvms import environment_without
from tests.messages import cases, last_cases, model_cases  # noqa: F401 - they fill the table
from tests.messages.table import CASES, Case
from tests.messages.world import FRAMEWORKS, NO_FRAMEWORK, SESSIONS, World, path_of_project

RECORDED = Path(__file__).with_name("recorded.txt")
HEAD = "What a user sees of a mistake: the first two lines of the error.\n"
#: The first test of them all starts every framework, in both sessions.
pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

#: By title: by (framework, session) what was seen.
Seen = dict[str, dict[tuple[str, str], str]]


def selected(request: pytest.FixtureRequest, session: str) -> list[str]:
    """The titles of the cases that this run has, and that can be made in a session."""
    items = request.session.items
    here = [item for item in items if item.path == Path(__file__) and hasattr(item, "callspec")]
    titles = {item.callspec.params["title"] for item in here}
    return [title for title in CASES if title in titles and session in CASES[title].sessions]


@pytest.fixture(scope="session")
def classic(
    spark: SparkSession, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    """What is seen in a classic session, one framework after another: children stay warm."""
    seen: Seen = {}
    for framework in (NO_FRAMEWORK, *FRAMEWORKS):
        world = World(spark, framework, tmp_path_factory.mktemp("classic"))
        for title in selected(request, "classic"):
            if framework in CASES[title].places("classic"):
                told = world.seen(CASES[title].make)
                seen.setdefault(title, {})[framework, "classic"] = told
    return seen


@pytest.fixture(scope="session")
def connect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What is seen over Spark Connect."""
    titles = selected(request, "connect")
    if not titles:
        return {}
    environment = environment_without()
    environment |= {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": path_of_project()}
    directory = str(tmp_path_factory.mktemp("connect"))
    ended = subprocess.run(
        [sys.executable, "-m", "tests.messages.over_connect", directory, *titles],
        capture_output=True,
        text=True,
        timeout=800,
        env=environment,
        cwd=directory,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    told = json.loads(ended.stdout.splitlines()[-1])
    return {title: {(f, "connect"): text for f, text in told[title].items()} for title in titles}


@pytest.fixture(scope="session")
def seen(classic: Seen, connect: Seen, pytestconfig: pytest.Config) -> Iterator[dict[str, str]]:
    """Each case as it is written down."""
    told = {t: {**classic.get(t, {}), **connect.get(t, {})} for t in (*classic, *connect)}
    written = {title: section(CASES[title], told[title]) for title in CASES if title in told}
    yield written
    if pytestconfig.getoption("--record-messages"):
        sections = {**read(), **written}
        ordered = [f"{title}\n{sections[title]}" for title in CASES if title in sections]
        RECORDED.write_text("\n\n".join([HEAD, *ordered]) + "\n")


def section(case: Case, told: dict[tuple[str, str], str]) -> str:
    """Write down what was seen of a case: each text once, below where it was seen."""
    places: dict[str, list[tuple[str, str]]] = {}
    for place, text in told.items():
        places.setdefault(text, []).append(place)
    lines = []
    for text, where in places.items():
        lines += [f"  [{named(where)}]", *(f"    {line}" for line in text.splitlines())]
    return "\n".join(lines)


def named(where: list[tuple[str, str]]) -> str:
    """Name the frameworks of each session, or once where they are those of both."""
    known = (NO_FRAMEWORK, *FRAMEWORKS)
    sessions: dict[str, list[str]] = {}
    for session in SESSIONS:
        if frameworks := [one for one in known if (one, session) in where]:
            every = len(frameworks) == len(FRAMEWORKS)
            name = "every framework" if every else " and ".join(frameworks)
            sessions.setdefault(name, []).append(session)
    return "; ".join(f"{name}, {' and '.join(told)}" for name, told in sessions.items())


def read() -> dict[str, str]:
    """Return what is written down, by title."""
    text = RECORDED.read_text() if RECORDED.exists() else ""
    parts = [part for part in text.removeprefix(HEAD).strip().split("\n\n") if part]
    return {title: rest for title, _, rest in (part.strip().partition("\n") for part in parts)}


@pytest.mark.parametrize("title", CASES)
def test_what_is_seen_is_what_was_written_down(
    title: str, seen: dict[str, str], pytestconfig: pytest.Config
) -> None:
    if not pytestconfig.getoption("--record-messages"):
        assert seen[title] == read().get(title)


def test_nothing_else_is_written_down(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--record-messages"):
        assert set(read()) == set(CASES)
