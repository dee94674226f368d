"""What a run came to, for people: tables of text, and a picture of the learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as text with aligned columns; numbers to the right."""
    cells = [list(names), *([_text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        padded[0] = row[0].ljust(widths[0])
        lines.append("  ".join(padded).rstrip())
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]])


def epochs_table(history: Mapping[str, Sequence[float]]) -> str:
    """Return one line an epoch of a fit's history."""
    names = [name for name in history if name != "lr"]
    values = zip(*(history[name] for name in names), strict=True)
    return table(["epoch", *names], [[epoch, *row] for epoch, row in enumerate(values, 1)])


def draw_curves(history: Mapping[str, Sequence[float]], path: Path) -> str:
    """Draw loss and accuracy over the epochs; return the line that says where, or what is missing.

    Reading a file shows whether somebody learned; nothing here needs a screen.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return 'No picture of the learning curves without matplotlib: pip install "zoo-orca[demo]"'
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for name, label in ((metric, "training"), (f"val_{metric}", "validation")):
            values = history.get(name, [])
            axes.plot(range(1, len(values) + 1), values, marker="o", label=label)
        axes.set(xlabel="epoch", title=metric)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    return f"Learning curves: {path}"


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
