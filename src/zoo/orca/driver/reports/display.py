"""What the user sees while a stage runs; the only file of the package that prints."""

import sys
import time
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

from zoo.orca.wire.messages.progress import (
    EpochBegan,
    EpochEnded,
    LogLine,
    Phase,
    Progress,
    Reported,
    StepTaken,
    Warned,
)

with warnings.catch_warnings():
    # In a notebook without ipywidgets tqdm warns and shows a text bar, which is enough.
    warnings.simplefilter("ignore")
    from tqdm.auto import tqdm


#: Seconds between two lines of a loop that reports each of its steps.
_LINE_SECONDS = 5.0


class Display(Protocol):
    """Shows what workers report."""

    def show(self, progress: Progress, rank: int = 0) -> None:
        """Show one report of this rank."""

    def close(self) -> None:
        """Leave the terminal tidy."""


class Silent:
    """Shows nothing."""

    def show(self, progress: Progress, rank: int = 0) -> None:
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
        The user's label for it, at the start of each line; or an empty string.
    """

    def __init__(self, title: str, name: str = "") -> None:
        self._title = name or title
        self._label = f"{name}: " if name else ""
        self._phases: set[str] = set()
        self._reported = -_LINE_SECONDS

    def show(self, progress: Progress, rank: int = 0) -> None:
        """Print a line for each new phase, epoch, warning and line of the workers' log."""
        match progress:
            case Phase(text=text):
                if text not in self._phases:
                    self._phases.add(text)
                    say(f"{self._title}: {text}")
            case EpochBegan():
                say(self._label + _headline(progress))
            case EpochEnded():
                say(self._label + epoch_line(progress))
            case Reported():
                now = time.monotonic()
                if progress.is_last or now - self._reported >= _LINE_SECONDS:
                    self._reported = now
                    say(self._label + _report_line(progress))
            case _:
                _show_text(progress, rank, self._label)

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

    def show(self, progress: Progress, rank: int = 0) -> None:
        """Move the bar, or print a line above it."""
        match progress:
            case Phase(text=text):
                if self._bar is None:
                    self._show_phase(text)
            case EpochBegan():
                self._begin(progress)
            case StepTaken():
                if self._bar is not None:
                    self._move(progress)
            case EpochEnded():
                self._end(progress)
            case Reported():
                self._report(progress)
            case _:
                with tqdm.external_write_mode():
                    _show_text(progress, rank, self._label)

    def close(self) -> None:
        """Remove an unfinished bar."""
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

    def _begin(self, epoch: EpochBegan) -> None:
        self.close()
        with tqdm.external_write_mode():
            say(self._label + _headline(epoch))
        self._bar = self._made(epoch.steps or None)

    def _made(self, steps: int | None) -> Any:
        """Return a bar; without a number of steps it only counts."""
        form = "{n_fmt} steps {elapsed}{postfix}"
        if steps:
            form = "{n_fmt}/{total_fmt} [{bar:30}] {elapsed}<{remaining}{postfix}"
        return tqdm(
            total=steps, unit="step", leave=False, desc=self._label, bar_format="{desc}" + form
        )

    def _report(self, told: Reported) -> None:
        total = told.steps or None
        if self._bar is None or self._bar.total != total:
            self.close()
            self._bar = self._made(total)
        self._bar.set_postfix_str(" - ".join(_shown(told.logs)), False)
        self._bar.update(told.step - self._bar.n)
        if told.is_last:
            self.close()
            with tqdm.external_write_mode():
                say(self._label + _report_line(told))

    def _move(self, step: StepTaken) -> None:
        rate = step.rows / max(step.seconds, 1e-9)
        self._bar.set_postfix_str(" - ".join([f"{rate:,.0f} rows/s", *_shown(step.logs)]), False)
        self._bar.update(step.steps - self._bar.n)

    def _end(self, epoch: EpochEnded) -> None:
        self.close()
        with tqdm.external_write_mode():
            say(self._label + epoch_line(epoch))


def epoch_line(epoch: EpochEnded) -> str:
    """Return Keras's line for an epoch that ended: steps, time, loss and metrics."""
    steps, seconds = epoch.steps, epoch.seconds
    parts = [f"{steps}/{steps}", f"{seconds:.0f}s", f"{1000 * seconds / max(steps, 1):.1f}ms/step"]
    if epoch.rows:
        parts.append(f"{epoch.rows / max(seconds, 1e-9):,.0f} rows/s")
    return " - ".join([*parts, *_shown(epoch.logs)])


def _report_line(told: Reported) -> str:
    """Return the line for a step of a user's own loop."""
    step = f"{told.step}/{told.steps}" if told.steps else f"step {told.step}"
    return " - ".join([step, *_shown(told.logs)])


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


def _headline(epoch: EpochBegan) -> str:
    return f"Epoch {epoch.epoch + 1}/{epoch.epochs}"


def _show_text(progress: Progress, rank: int, label: str) -> None:
    match progress:
        case LogLine(text=text):
            say(f"{label}[rank {rank}] {text}")
        case Warned(text=text):
            say(f"{label}warning: {text}")


def present(found: object) -> None:
    """Print what a call has found, and returns; in a notebook it shows itself, as a table."""
    if not _in_notebook():
        say(str(found))


def say(text: str) -> None:
    """Print lines where the progress goes."""
    print(text, flush=True)
