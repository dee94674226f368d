"""What training has come to, as people look at it: a table in a notebook, learning curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Protocol

from zoo.orca.errors import InvalidInputError, MissingPackageError
from zoo.orca.learn.arguments import is_there

_VALIDATION = "val_"
#: A row is named beside its cells.
Row = tuple[str, Sequence[str]]


def table(caption: str, heads: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a table in HTML; whatever the texts are, they are shown as texts."""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, cells in rows
    )
    top = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f"<table><caption>{escape(caption)}</caption>{top}<tbody>{body}</tbody></table>"


class _Training(Protocol):
    """What can be shown: values by name, and the epoch of each."""

    history: dict[str, list[float]]

    def epochs_of(self, name: str) -> list[int]:
        """Return the epoch of each value of a name, counted from 1."""


class Curves:
    """Adds a table and a picture to what `fit` returns."""

    def _repr_html_(self: _Training) -> str:
        names = list(self.history)
        found = {name: dict(_points(self, name)) for name in names}
        epochs = sorted({epoch for values in found.values() for epoch in values})
        rows = [
            (
                str(epoch),
                [f"{found[n][epoch]:.6g}" if epoch in found[n] else "" for n in names],
            )
            for epoch in epochs
        ]
        return table("Training", ["epoch", *names], rows)

    def plot(self: _Training, names: Sequence[str] | None = None) -> Any:
        """Draw the learning curves: one picture for each value, with that of validation.

        Parameters
        ----------
        names : list of str, optional
            The values to draw, as in ``.history``, without ``val_``; by default all of them.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        MissingPackageError
            If matplotlib is not installed here.
        InvalidInputError
            If there is no value of a name.
        """
        if not is_there("matplotlib"):
            raise MissingPackageError(
                "plot needs matplotlib, which is not installed here\n"
                "Install it: pip install 'zoo-orca[demo]'"
            )
        there = list(dict.fromkeys(name.removeprefix(_VALIDATION) for name in self.history))
        there.sort(key=lambda name: name != "loss")
        wanted = there if names is None else [n.removeprefix(_VALIDATION) for n in names]
        for name in wanted:
            if name not in there:
                raise InvalidInputError(f"there is no curve {name!r}\nName some of {there}")
        if not wanted:
            raise InvalidInputError("there are no curves\nTrain for an epoch, or name some curves")
        return _drawn(self, wanted)


def _drawn(stats: _Training, wanted: Sequence[str]) -> Any:
    import matplotlib
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    size = (4.8 * len(wanted), 3.6)
    figure, grid = pyplot.subplots(1, len(wanted), figsize=size, squeeze=False, layout="tight")
    for axes, name in zip(grid[0], wanted, strict=True):
        for key, label in ((name, "training"), (f"{_VALIDATION}{name}", "validation")):
            points = _points(stats, key)
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    if "inline" in matplotlib.get_backend():
        # A notebook shows what a cell returns, and every open figure, too.
        pyplot.close(figure)
    return figure


def _points(stats: _Training, name: str) -> list[tuple[int, float]]:
    values = stats.history.get(name, [])
    return list(zip(stats.epochs_of(name), values, strict=True)) if values else []


def epochs_of_values(count: int, first: int, frequency: int | Sequence[int] = 1) -> list[int]:
    """Return the numbers, from 1, of `count` epochs with values, of those from `first` on.

    Parameters
    ----------
    count : int
    first : int
        The number of the first epoch, counted from 0.
    frequency : int or sequence of int
        There are values after every so many epochs, or after these epochs, counted from 1.
    """
    if isinstance(frequency, int):
        start = first - first % frequency + frequency
        return [start + frequency * place for place in range(count)]
    return sorted(epoch for epoch in set(frequency) if epoch > first)[:count]
