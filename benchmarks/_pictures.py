"""Draws results: one picture for each claim of docs/performance.md, in seconds or multiples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

Results = dict[str, Any]
#: Contestant, figure, and the figure's values by round.
Figures = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Picture:
    """What is drawn of a result.

    `draw` gets the result and matplotlib's axes.
    """

    result: str
    caption: str
    draw: Callable[[Results, Any], None]


def figures_of(result: Results) -> Figures:
    """Return what was measured, by contestant and figure."""
    found: Figures = {}
    for run in result["runs"]:
        for figure, value in run["figures"].items():
            found.setdefault(run["contestant"], {}).setdefault(figure, []).append(value)
    return found


def draw_bars(
    result: Results,
    axes: Any,
    *,
    label: str,
    figures: Sequence[str] = (),
    base: str = "",
    contestants: Sequence[str] = (),
) -> None:
    """Draw medians as bars, least and greatest as lines.

    Parameters
    ----------
    result : dict
    axes : matplotlib.axes.Axes
    label : str
        What the numbers are.
    figures : sequence of str
        Which of them; by default all.
    base : str
        The end of the name of a contestant, of which the bars are multiples; empty: of none.
    contestants : sequence of str
        Which of them; by default all.
    """
    found = figures_of(result)
    chosen = contestants or list(found)
    of = next((name for name in found if name.endswith(base)), "") if base else ""
    shown = figures or list(dict.fromkeys(f for name in chosen for f in found[name]))
    width = 0.8 / len(chosen)
    for place, name in enumerate(chosen):
        there = [n for n, figure in enumerate(shown) if figure in found[name]]
        values = [found[name][shown[n]] for n in there]
        units = [median(found[of][shown[n]]) if of else 1.0 for n in there]
        middle = [median(one) / unit for one, unit in zip(values, units, strict=True)]
        below = [m - min(v) / u for m, v, u in zip(middle, values, units, strict=True)]
        above = [max(v) / u - m for m, v, u in zip(middle, values, units, strict=True)]
        spots = [n + place * width for n in there]
        axes.bar(spots, middle, width, label=name, yerr=[below, above], capsize=2)
    axes.set_xticks([n + 0.4 - width / 2 for n in range(len(shown))], shown)
    axes.tick_params(axis="x", rotation=20 if len(shown) > 3 else 0)
    if of:
        axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylabel(label)
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


def draw_steps(result: Results, axes: Any) -> None:
    """Draw a step's milliseconds over the number of parameters."""
    for name, found in figures_of(result).items():
        axes.plot(list(found), [median(one) for one in found.values()], marker="o", label=name)
    axes.set_yscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel("ms a step")
    axes.legend(fontsize="small")


#: What a whole program spends its time on, in order.
PHASES = (
    "session",
    "read",
    "rows",
    "framework import",
    "until training begins",
    "first step",
    "epochs",
    "validation",
    "between epochs",
    "after training",
    "save",
    "evaluate",
)

_COLOURS = [f"C{number}" for number in range(10)] + ["gold", "black"]


def draw_phases(result: Results, axes: Any) -> None:
    """Draw the seconds of a program's phases, one upon the other."""
    found = figures_of(result)
    lower = dict.fromkeys(found, 0.0)
    for place, phase in enumerate(PHASES):
        spent = {name: median(one.get(phase, [0.0])) for name, one in found.items()}
        if any(spent.values()):
            given = {"left": list(lower.values()), "label": phase, "color": _COLOURS[place]}
            axes.barh(list(found), list(spent.values()), **given)
        lower = {name: lower[name] + spent[name] for name in found}
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


_MULTIPLES = partial(draw_bars, label="rows/s ÷ the framework alone", base=": plain")
_SECONDS = partial(draw_bars, label="seconds")
PICTURES = {
    "epochs": Picture(
        "epochs",
        "Rows a second of a later epoch, by model and batch, as multiples of plain Keras",
        _MULTIPLES,
    ),
    "epochs-pytorch": Picture(
        "epochs-pytorch",
        "Rows a second of a later epoch of PyTorch, as multiples of a loop written by hand",
        _MULTIPLES,
    ),
    "epochs-keras-jax": Picture(
        "epochs-keras-jax",
        "Rows a second of a later epoch of Keras on JAX, as multiples of plain Keras",
        _MULTIPLES,
    ),
    "crossover": Picture(
        "crossover", "A step of two workers over the size of the gradients", draw_steps
    ),
    "scaling": Picture(
        "scaling",
        "Rows a second of two workers, as multiples of one worker's",
        partial(
            draw_bars,
            label="rows/s ÷ one worker",
            base="1 worker",
            contestants=("1 worker", "2 workers"),
        ),
    ),
    "quickstart": Picture("quickstart", "Where a whole program spends its time", draw_phases),
    "growth": Picture("growth", "Seconds of a fit over its rows", draw_growth),
    "ingest": Picture("ingest", "Rows on their way to two workers", _SECONDS),
    "warm": Picture(
        "warm",
        "Later jobs of a session",
        partial(draw_bars, label="seconds", figures=("shuffle alone", "first step", "result")),
    ),
    "padded": Picture(
        "padded", "Histories padded by the workers", partial(draw_bars, label="rows/s")
    ),
    "workers": Picture(
        "workers", "The loss by the number of workers", partial(draw_bars, label="loss")
    ),
    "ml": Picture(
        "ml",
        "A search of Spark ML",
        partial(draw_bars, label="seconds", figures=("search",)),
    ),
    "forms": Picture(
        "forms",
        "Rows a second of an epoch by the form that rows have",
        partial(
            draw_bars,
            label="rows/s",
            contestants=("tf2: Orca", "keras-jax: Orca", "pytorch: Orca"),
        ),
    ),
    "predict": Picture("predict", "Predictions of generated ratings", _SECONDS),
}


def draw(name: str, result: Results, path: Path) -> None:
    """Draw one picture into a file that is the same for the same results."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = name
    from matplotlib import pyplot

    picture = PICTURES[name]
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    picture.draw(result, axes)
    axes.set_title(picture.caption, fontsize="medium")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
