"""The table of faults: what each test injects, and what came of it.

A test is marked with ``pytest.mark.fault(what is done to which part)`` and calls `came_out`. With
``--faults-table`` pytest writes what it saw into the docstring of `tests.faults` and into
docs/faults.md; faults that were not tried keep their rows.
"""

import ast
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
PACKAGE = Path(__file__).with_name("__init__.py")
TESTS = (ROOT / "tests" / "faults", ROOT / "tests" / "cluster")

#: What a success is, in the table.
EQUAL = "goes on, and equals the unbroken run"

_HEAD = "| what is done to which part | what comes of it | seconds |\n|---|---|---|\n"
_INTRODUCTION = """\
# Faults

Every fault that Orca's tests inject, and what the user gets. For an error it is the class and the
first line, with `N`, `HOST` and `PATH` for numbers, hosts and paths. The seconds are those of the
slowest try: from the kill of a process to the outcome, else from the call.

"""
_COMMAND = """
The table is written by the tests themselves, where each outcome is checked:

```sh
ZOO_ORCA_KILLS=100 python -m pytest tests/faults tests/cluster --faults-table
```
"""


@dataclass
class Outcome:
    """What came of one fault, in all tries."""

    said: set[str] = field(default_factory=set)
    seconds: float | None = None


#: What this run has seen.
seen: dict[str, Outcome] = {}
#: The faults of the test that runs.
current: list[str] = []


def came_out(
    what: BaseException | str, seconds: float | None = None, *, fault: str | None = None
) -> None:
    """Note what came of the running test's fault: an error, or how it went on."""
    if not current:
        return
    if fault is None:
        (fault,) = current
    assert fault in current
    noted = seen.setdefault(fault, Outcome())
    noted.said.add(what if isinstance(what, str) else form(type(what).__name__, str(what)))
    if seconds is not None:
        noted.seconds = max(seconds, noted.seconds or 0.0)


def form(kind: str, message: str) -> str:
    """Return an error's class and the first line of its message, without what is by chance."""
    line = re.sub(r"\w+://\S+", "URL", message.split("\n")[0])
    line = re.sub(r"(?<![\w/])/[\w./<>-]+", "PATH", line)
    host = re.escape(socket.gethostname())
    line = re.sub(rf"\b(\d+\.\d+\.\d+\.\d+|{host})\b", "HOST", line)
    return f"`{kind}`: {re.sub(r'[0-9]+([.][0-9]+)*', 'N', line)}".replace("|", "/")


def registered() -> set[str]:
    """Return the faults that tests are marked with; nothing is imported or run."""
    found: set[str] = set()
    for path in [path for tests in TESTS for path in tests.glob("test_*.py")]:
        tree = ast.parse(path.read_text())
        names = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Dict)
            and node.targets[0].id == "FAULTS"
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                for argument in node.args:
                    if isinstance(argument, ast.Starred):
                        found |= set(names["FAULTS"].values())
                    else:
                        found.add(ast.literal_eval(argument))
    return found


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the rows of a table by fault: the outcome and the seconds."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows[1:]}


def table(faults: Iterable[str], before: dict[str, list[str]]) -> str:
    """Return the table of these faults, as they were seen now or before."""
    rows = []
    for fault in sorted(faults):
        if fault in seen:
            noted = seen[fault]
            took = "" if noted.seconds is None else f"{noted.seconds:.1f}"
            rows.append([fault, "; or ".join(sorted(noted.said)), took or "-"])
        else:
            rows.append([fault, *before.get(fault, ["not tried", "-"])])
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write() -> None:
    """Write the table anew."""
    before = rows_of(PAGE.read_text()) if PAGE.exists() else {}
    written = table(registered(), before)
    PAGE.write_text(_INTRODUCTION + written + _COMMAND)
    PACKAGE.write_text(docstring(written))


def docstring(written: str) -> str:
    """Return the package's file for a table, without the seconds."""
    told = "".join(f"- {fault}:\n  {outcome}\n" for fault, (outcome, _) in rows_of(written).items())
    head = "Every fault that is injected, and what comes of it; written by ``--faults-table``."
    return f'# ruff: noqa: E501\nr"""{head}\n\n{told}"""\n'
