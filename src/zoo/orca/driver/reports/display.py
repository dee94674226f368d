"""What the user sees while a stage runs; the only file of the package that prints."""

import sys
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

with warnings.catch_warnings():
    # In a notebook without ipywidgets tqdm falls back to a text bar, and warns; the bar is enough.
    warnings.simplefilter("ignore")
    from tqdm.auto import tqdm


class Display(Protocol):
    """Shows reports; `report` has the fields of `zoo.orca.wire.job.Progress`."""

    def show(self, report: Mapping[str, Any]) -> None:
        """Show one report."""

    def close(self) -> None:
        """Leave the terminal tidy."""


class Silent:
    """Shows nothing."""

    def show(self, report: Mapping[str, Any]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """No-op."""


class Lines:
    """Shows plain lines: for files, pipes and continuous integration.

    Parameters
    ----------
    title : str
        What is running.
    name : str
        The user's label for it, at the head of each line; or nothing.
    """

    def __init__(self, title: str, name: str = "") -> None:
        self._title = name or title
        self._label = f"{name}: " if name else ""
        self._phases: set[str] = set()

    def show(self, report: Mapping[str, Any]) -> None:
        """Print a line for what is worth one: phases once, epochs, warnings, the workers' log."""
        kind = report["kind"]
        if kind == "phase" and report["text"] not in self._phases:
            self._phases.add(report["text"])
            say(f"{self._title}: {report['text']}")
        elif kind == "epoch":
            say(f"{self._label}Epoch {report['epoch'] + 1}/{report['epochs']}")
        elif kind == "epoch_end":
            say(self._label + epoch_line(report))
        else:
            _show_text(report, self._label)

    def close(self) -> None:
        """No-op."""


class Bars:
    """Shows one bar an epoch, on a terminal or in a notebook (`tqdm.auto` finds out which).

    Parameters
    ----------
    title, name : str
        As of `Lines`.
    """

    def __init__(self, title: str, name: str = "") -> None:
        self._title = name or title
        self._label = f"{name}: " if name else ""
        self._bar: Any = None
        self._phase: Any = None

    def show(self, report: Mapping[str, Any]) -> None:
        """Move the bar, or print a line above it."""
        kind = report["kind"]
        if kind == "phase" and self._bar is None:
            self._show_phase(report["text"])
        elif kind == "epoch":
            self._begin(report)
        elif kind == "step" and self._bar is not None:
            self._move(report)
        elif kind == "epoch_end":
            self._end(report)
        else:
            with tqdm.external_write_mode():
                _show_text(report, self._label)

    def close(self) -> None:
        """Remove a bar that did not come to its end."""
        self._drop_phase()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show_phase(self, text: str) -> None:
        if self._phase is None:
            self._phase = tqdm(total=0, bar_format="{desc} [{elapsed}]", leave=False)
        self._phase.set_description_str(f"{self._title}: {text}")

    def _drop_phase(self) -> None:
        if self._phase is not None:
            self._phase.close()
            self._phase = None

    def _begin(self, report: Mapping[str, Any]) -> None:
        self.close()
        with tqdm.external_write_mode():
            say(f"{self._label}Epoch {report['epoch'] + 1}/{report['epochs']}")
        self._bar = tqdm(
            total=report["steps"],
            unit="step",
            leave=False,
            desc=self._label,
            bar_format="{desc}{n_fmt}/{total_fmt} [{bar:30}] {elapsed}<{remaining}{postfix}",
        )

    def _move(self, report: Mapping[str, Any]) -> None:
        rate = report["rows"] / max(report["seconds"], 1e-9)
        self._bar.set_postfix_str(
            " - ".join([f"{rate:,.0f} rows/s", *_shown(report["logs"])]), False
        )
        self._bar.update(report["step"] - self._bar.n)

    def _end(self, report: Mapping[str, Any]) -> None:
        self.close()
        with tqdm.external_write_mode():
            say(self._label + epoch_line(report))


def epoch_line(report: Mapping[str, Any]) -> str:
    """Return Keras's line for an epoch that ended: steps, time, loss and metrics."""
    steps, seconds = report["steps"], report["seconds"]
    parts = [f"{steps}/{steps}", f"{seconds:.0f}s", f"{1000 * seconds / max(steps, 1):.1f}ms/step"]
    if report["rows"]:
        parts.append(f"{report['rows'] / max(seconds, 1e-9):,.0f} rows/s")
    return " - ".join([*parts, *_shown(report["logs"])])


def display_for(verbose: int, title: str, name: str = "") -> Display:
    """Return the display for this `verbose` and this standard output."""
    if verbose == 0:
        return Silent()
    if sys.stdout.isatty() or _in_notebook():
        return Bars(title, name)
    return Lines(title, name)


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _shown(logs: Mapping[str, float]) -> list[str]:
    return [
        f"{name}: {value:.4g}" if abs(value) < 1e-3 else f"{name}: {value:.4f}"
        for name, value in logs.items()
    ]


def _show_text(report: Mapping[str, Any], label: str) -> None:
    if report["kind"] == "log":
        say(f"{label}[rank {report['rank']}] {report['text']}")
    elif report["kind"] == "warning":
        say(f"{label}warning: {report['text']}")


def say(text: str) -> None:
    """Print lines where the progress goes."""
    print(text, flush=True)
