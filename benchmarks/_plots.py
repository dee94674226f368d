"""Puts the results into the documentation: tables and plots of docs/performance.md.

python benchmarks/_plots.py

Between a line ``<!-- results: NAME / SECTION -->`` and the next ``<!-- end -->`` stands that
section of benchmarks/results/NAME.md, and between ``<!-- plot: NAME -->`` and its end the plot of
NAME. What has no results yet stays as it is. Needs matplotlib (pip install 'zoo-orca[demo]').
"""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from _paths import ROOT
from _report import RESULTS

PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
BLOCK = re.compile(r"(<!-- (results|plot): ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
PICTURE = re.compile(r"\]\(([\w-]+\.png)\)")
Results = dict[str, Any]


def fill(page: str, results: dict[str, Results]) -> str:
    """Return the page with the blocks filled for which there are results."""

    def block(match: re.Match[str]) -> str:
        opening, kind, what, end = match.groups()
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
    """Return the Markdown of a plot."""
    return f"\n![{CAPTIONS[name]}](images/{name}.svg)\n"


def draw_epochs(result: Results, axes: Any) -> None:
    """Draw rows a second, of each contestant as a multiple of plain Keras with the same batch."""
    rates: dict[str, dict[str, list[float]]] = {}
    for run in result["runs"]:
        for figure, rate in run["figures"].items():
            rates.setdefault(run["contestant"], {}).setdefault(figure, []).append(rate)
    plain = next(name for name in rates if name.endswith(": plain"))
    figures = list(rates[plain])
    width = 0.8 / len(rates)
    for place, (name, measured) in enumerate(rates.items()):
        there = [index for index, figure in enumerate(figures) if figure in measured]
        base = [median(rates[plain][figures[index]]) for index in there]
        ratios = [median(measured[figures[i]]) / b for i, b in zip(there, base, strict=True)]
        axes.bar([index + place * width for index in there], ratios, width, label=name)
    axes.set_xticks([index + 0.4 - width / 2 for index in range(len(figures))], figures)
    axes.tick_params(axis="x", rotation=30)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylabel("rows/s ÷ plain Keras")
    axes.legend(fontsize="small")


def draw_growth(result: Results, axes: Any) -> None:
    """Draw a fit's seconds over its rows, and the straight line of exponent 1."""
    rows, times = result["rows"], result["seconds"]
    middles = [median(one) for one in times]
    below = [middle - min(one) for middle, one in zip(middles, times, strict=True)]
    above = [max(one) - middle for middle, one in zip(middles, times, strict=True)]
    axes.errorbar(rows, middles, [below, above], marker="o", capsize=3, label="fit, one epoch")
    line = [middles[-1] * size / rows[-1] for size in rows]
    axes.plot(rows, line, linestyle=":", color="grey", label="exponent 1")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rows")
    axes.set_ylabel("seconds")
    axes.legend(fontsize="small")


DRAW: dict[str, Callable[[Results, Any], None]] = {"epochs": draw_epochs, "growth": draw_growth}
CAPTIONS = {
    "epochs": "Rows a second of a later epoch, by model and batch, as multiples of plain Keras",
    "growth": "Seconds of a fit over its rows",
}


def draw(name: str, result: Results, path: Path) -> None:
    """Draw one plot into a file that is the same for the same results."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = name
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    DRAW[name](result, axes)
    axes.set_title(CAPTIONS[name], fontsize="medium")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> int:
    """Fill the page and draw the plots."""
    results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    for name in DRAW:
        if name in results:
            draw(name, results[name], IMAGES / f"{name}.svg")
            print(IMAGES / f"{name}.svg")
    PAGE.write_text(fill(PAGE.read_text(), results))
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
