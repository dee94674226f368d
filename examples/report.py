"""What a run came to, for people: tables of text, and pictures of curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_MISSING = 'without matplotlib: pip install "zoo-orca[demo]"'


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
    """Draw loss and metric over the epochs; return the line that says where, or what is missing.

    Reading a file shows whether somebody learned; nothing here needs a screen.
    """
    figure = _figure()
    if figure is None:
        return f"No picture of the learning curves {_MISSING}"
    # Frameworks name their metrics each in its own way.
    metrics = [name for name in history if not name.startswith("val_") and name != "lr"][:2]
    for axes, metric in zip(
        figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True
    ):
        for name, label in ((metric, "training"), (f"val_{metric}", "validation")):
            values = history.get(name, [])
            axes.plot(range(1, len(values) + 1), values, marker="o", label=label)
        axes.set(xlabel="epoch", title=metric)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    return f"Learning curves: {path}"


def draw_roc(false: Sequence[float], true: Sequence[float], area: float, path: Path) -> str:
    """Draw a ROC curve, shares of false and true alarms; return the line that says where."""
    figure = _figure(5.0, 4.6)
    if figure is None:
        return f"No picture of the ROC curve {_MISSING}"
    axes = figure.subplots()
    axes.plot(false, true, label=f"area {area:.3f}")
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey", label="chance, 0.5")
    axes.set(xlabel="false alarms among the good", ylabel="found among the failing", title="ROC")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    return f"ROC curve: {path}"


def _figure(width: float = 9.0, height: float = 3.6) -> Any:
    """Return an empty figure, None without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
