"""Programs of both generations of the original run as they were written."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from zoo.orca.gone.finder import GoneModules

PROGRAMS = Path(__file__).with_name("programs")
PAGE = Path(__file__).parents[2] / "docs" / "from-bigdl.md"


def translate(directory: Path) -> None:
    """Run the page's line, as it stands, in a directory of programs."""
    line = re.search(r"^```sh\n(sed .*)\n```", PAGE.read_text(), re.MULTILINE)[1]
    subprocess.run(["sh", "-c", line], cwd=directory, check=True, timeout=60)


@pytest.fixture
def session(spark, monkeypatch, tmp_path):
    """The programs adopt the tests' session, and may not end it."""
    monkeypatch.setattr("zoo.orca.stop_orca_context", lambda: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["zoo_keras", "zoo_pytorch", "bigdl_keras", "bigdl_pytorch"])
def test_a_program_runs(session, name, capsys):
    program = session / f"{name}.py"
    program.write_text((PROGRAMS / program.name).read_text())
    if name.startswith("bigdl"):
        translate(session)
    runpy.run_path(str(program), run_name="__main__")
    assert capsys.readouterr().out


def test_the_line_changes_nothing_but_imports(tmp_path):
    for program in PROGRAMS.glob("*.py"):
        (tmp_path / program.name).write_text(program.read_text())
    translate(tmp_path)
    for program in PROGRAMS.glob("*.py"):
        before = program.read_text().splitlines()
        after = (tmp_path / program.name).read_text().splitlines()
        changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        assert all(a.startswith("from bigdl.") and b.startswith("from zoo.") for a, b in changed)
        assert bool(changed) is program.name.startswith("bigdl")


def test_the_page_names_every_module_that_is_gone():
    page = PAGE.read_text()
    assert [name for name in GoneModules.instead if f"`{name}`" not in page] == []
