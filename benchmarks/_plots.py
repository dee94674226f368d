"""Puts the results into the documentation: the pages on performance and on many hosts, all tables.

python benchmarks/_plots.py

Between a line ``<!-- results: NAME / SECTION -->`` and the next ``<!-- end -->`` stands that
section of benchmarks/results/NAME.md; between ``<!-- plot: NAME -->`` and its end the picture of
that name; between ``<!-- goals: NAME ... -->`` and its end what the results of these names must
hold; and between ``<!-- overview -->`` and its end the summary. What has no results yet stays as
it is. Needs matplotlib (pip install 'zoo-orca[demo]').
"""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from _overview import overview
from _paths import ROOT
from _pictures import PICTURES, draw
from _report import RESULTS, Goal, table

PAGE = ROOT / "docs" / "performance.md"
PAGES = (PAGE, *(ROOT / "docs" / f"{name}.md" for name in ("performance-tables", "many-hosts")))
IMAGES = ROOT / "docs" / "images"
BLOCK = re.compile(
    r"(<!-- (results|plot|goals|overview)(?:: ([^>]+?))? -->\n).*?(<!-- end -->)", re.DOTALL
)
PICTURE = re.compile(r"\]\(([\w-]+\.png)\)")
Results = dict[str, Any]


def fill(page: str, results: dict[str, Results]) -> str:
    """Return the page with the blocks filled for which there are results."""

    def block(match: re.Match[str]) -> str:
        opening, kind, what, end = match.groups()
        if kind == "overview":
            return f"{opening}\n{overview(results)}\n\n{end}"
        if kind == "goals":
            return f"{opening}{goals(what.split(), results)}{end}"
        name, _, section = what.partition(" / ")
        if name not in results:
            return match[0]
        if kind == "results" and section not in results[name].get("sections", {}):
            return f"{opening}{end}"  # the last run measured less than all
        inside = shown(results[name], section) if kind == "results" else picture(name)
        return f"{opening}{inside}\n{end}"

    return BLOCK.sub(block, page)


def shown(result: Results, section: str) -> str:
    """Return a section, and where it comes from; its pictures move into the documentation."""
    text = result["sections"][section]
    for picture_name in PICTURE.findall(text):
        shutil.copy(RESULTS / picture_name, IMAGES / picture_name)
    text = PICTURE.sub(r"](images/\1)", text)
    return f"\n{text}\n\n*`{result['command']}`. {result['machine']}*\n"


def picture(name: str) -> str:
    """Return the Markdown of a picture."""
    return f"\n![{PICTURES[name].caption}](images/{name}.svg)\n"


def goals(names: Sequence[str], results: dict[str, Results]) -> str:
    """Return what some results must hold, each with a link to its tables."""
    rows = []
    for name in names:
        for goal in results.get(name, {}).get("goals", []):
            one = Goal(**{key: value for key, value in goal.items() if key != "mark"})
            sign = "≤" if one.at_most else "≥"
            must = "–" if one.must is None else f"{sign} {one.must:g}"
            link = f"[{name}](#{name})"
            rows.append([one.name, f"{one.value:.3g}", one.detail, must, one.mark, link])
    names_of = ["ours ÷ the other", "measured", "within rounds", "must", "mark", "all figures"]
    return f"\n{table(names_of, rows)}\n\n"


def main() -> int:
    """Fill the pages and draw the pictures."""
    results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    for name, one in PICTURES.items():
        if one.result in results:
            draw(name, results[one.result], IMAGES / f"{name}.svg")
            print(IMAGES / f"{name}.svg")
    for page in PAGES:
        page.write_text(fill(page.read_text(), results))
        print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
