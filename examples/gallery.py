"""Runs the programs of docs/gallery.md and of pages it has pictures of, and puts in what they show.

python examples/gallery.py

A block that ends with an expression is a cell of a notebook. If its value is a figure, the figure
becomes the picture below the block, in docs/images. Any other value becomes the table that a
notebook shows, between the comments below the block.
"""

import ast
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "gallery.md", DOCS / "spark-ml.md", DOCS / "tuning.md"]
BLOCK = re.compile(
    r"^```python\n(?P<source>.*?)^```\n"
    r"(?:\n!\[[^\]]*\]\((?P<picture>images/[\w-]+\.svg)\)"
    r"|\n<!-- shown -->\n(?P<table>.*?)<!-- end -->)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of Python, and what stands below it: a picture, the place of a table, or neither."""

    source: str
    line: int
    picture: str | None
    table: tuple[int, int] | None


def blocks(page: str) -> Iterator[Block]:
    """Return the blocks of a page in order."""
    for match in BLOCK.finditer(page):
        line = page.count("\n", 0, match.start("source"))
        place = None if match["table"] is None else match.span("table")
        yield Block(match["source"], line, match["picture"], place)


def written(page: str, folder: Path) -> str:
    """Run a page as far as it shows something; return it with its tables, and draw its pictures."""
    found = list(blocks(page))
    while found and found[-1].picture is None and found[-1].table is None:
        found.pop()
    # A function of __main__ travels to the workers by value, as it does from a user's program.
    names: dict[str, Any] = {"__name__": "__main__"}
    tables: list[tuple[tuple[int, int], str]] = []
    for block in found:
        value = run(block, names)
        if block.picture is not None:
            draw(value, folder / block.picture)
        if block.table is not None:
            tables.append((block.table, value._repr_html_()))
    for (start, end), table in reversed(tables):
        page = f"{page[:start]}{table}\n{page[end:]}"
    return page


def run(block: Block, names: dict[str, Any]) -> Any:
    """Run a block; return the value of the expression that it ends with, if it does."""
    tree = ast.parse("\n" * block.line + block.source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<block>", "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<block>", "eval"), names)


def draw(figure: Any, path: Path) -> None:
    """Write a figure into a file that is the same for the same numbers."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None})
    print(path)


def main() -> int:
    """Write the pages and their pictures anew."""
    import matplotlib

    matplotlib.use("svg")
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)  # the programs write files of their own
        for path in PAGES:
            path.write_text(written(path.read_text(), DOCS))
            print(path)
        os.chdir(DOCS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
