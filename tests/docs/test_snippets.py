"""Every Python block of the documentation runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = "# not run"


def blocks(page: Path) -> list[tuple[int, str]]:
    """The Python blocks of a page, each with the line it starts on."""
    text = page.read_text()
    return [
        (text.count("\n", 0, match.start(1)), match[1])
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]


def compiled(page: Path, line: int, source: str):
    """A block as code whose traceback names the page and its line."""
    return compile("\n" * line + source, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_compile(page):
    for line, source in blocks(page):
        compiled(page, line, source)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(not b.startswith(NOT_RUN) for _, b in blocks(page))],
    ids=lambda page: page.stem,
)
def test_blocks_run(page, spark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A function of __main__ travels to the workers by value, as it does from a user's program.
    namespace = {"__name__": "__main__"}
    for line, source in blocks(page):
        if not source.startswith(NOT_RUN):
            exec(compiled(page, line, source), namespace)
    if page.stem == "README":  # it says what comes out
        assert namespace["stats"]["train_accuracy"] > 0.97
