"""What a `fit` would do, as `plan` returns it."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from zoo.orca.errors import OrcaError
from zoo.orca.learn.planning.tables import as_html, as_text, several, size

_HEAD = ("role", "of the model", "column", "dtype", "a row's shape")
_NOT_COUNTED = "not counted: count=True counts them"
_CREATED = "unknown: they are what the creator's loader has, on the workers"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedColumn:
    """A column, and what becomes of it.

    Parameters
    ----------
    role : str
        "input", "label" or "weight".
    name : str
        The model's name for it; else its position, as in "input 0".
    column : str
        The column of the DataFrame; for a stack, its columns in brackets.
    dtype : str
    shape : tuple of int or None
        Of one row. A length is None where only the rows tell it.
    """

    role: str
    name: str
    column: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """What a `fit` would do; `str` has it as a table, and a notebook shows one.

    None stands for what nobody knows before something runs.

    Attributes
    ----------
    workers, hosts, slots, threads : int or None
        The workers, the hosts that they run on, the tasks that the session can run at once, and
        the threads of each worker.
    columns : tuple of PlannedColumn
    rows, validation_rows, steps : int or None
        Rows in all, and the steps of an epoch.
    is_created : bool
        Whether a data creator makes the rows.
    moves : bool or None
        Whether the rows move to other workers by an exchange.
    why : str
        Why they do, or do not.
    order : str
        As of what `fit` returns: "canonical" or "as placed".
    row_bytes : int or None
        Bytes of a row in a worker's memory, with its place in the order. At least so many where
        the length of an array is unknown.
    memory, memory_needed : int or None
        A worker's budget, and what its rows need of it, both in bytes.
    windows : bool or None
        Whether workers take their rows in windows, because they are more than the budget holds.
    gradient_bytes, state_bytes : int or None
        What each worker adds up with the others in a step at most, and what a state has.
    is_trained : bool
        Whether the state has what the optimizer keeps.
    refused : tuple of OrcaError
        All that `fit` would refuse; the first of them is what it would raise.
    stopped : str
        Why what is behind the refused could not be looked at; empty if all was.
    """

    workers: int | None = None
    hosts: int | None = None
    slots: int | None = None
    threads: int | None = None
    columns: tuple[PlannedColumn, ...] = ()
    rows: int | None = None
    validation_rows: int | None = None
    steps: int | None = None
    is_created: bool = False
    moves: bool | None = None
    why: str = ""
    order: str = ""
    row_bytes: int | None = None
    memory: int | None = None
    memory_needed: int | None = None
    windows: bool | None = None
    gradient_bytes: int | None = None
    state_bytes: int | None = None
    is_trained: bool = False
    refused: tuple[OrcaError, ...] = ()
    stopped: str = ""

    def __str__(self) -> str:
        lines = as_text(self._facts())
        if self.columns:
            lines += ["", *as_text([_HEAD, *self._columns()])]
        return "\n".join([*lines, "", *self._verdict()])

    def __repr__(self) -> str:
        refused = several(len(self.refused), "thing") if self.refused else "nothing"
        return f"FitPlan(workers={self.workers}, rows={self.rows}, refused: {refused})"

    def _repr_html_(self) -> str:
        columns = as_html(self._columns(), _HEAD) if self.columns else ""
        verdict = escape("\n".join(self._verdict()))
        return f"{as_html(self._facts())}{columns}<pre>{verdict}</pre>"

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("workers", self._workers()), ("rows", self._rows()), ("steps", self._steps())]
        if self.moves is not None:
            facts += [
                ("exchange", f"{'yes' if self.moves else 'no'}: {self.why}"),
                ("order", self._order()),
            ]
        if self.memory is not None:
            facts.append(("memory", self._memory()))
        facts += [("gradients", self._gradients()), ("state", self._state())]
        return facts

    def _workers(self) -> str:
        if self.workers is None:
            return "unknown"
        hosts = "" if self.hosts is None else f" on {several(self.hosts, 'host')}"
        slots = "unknown" if self.slots is None else f"{self.slots:,}"
        threads = "" if self.threads is None else f", threads each: {self.threads}"
        return f"{self.workers}{hosts}, slots: {slots}{threads}"

    def _rows(self) -> str:
        validation = ""
        if self.validation_rows is not None:
            validation = f", and {self.validation_rows:,} to validate with"
        unknown = _CREATED if self.is_created else _NOT_COUNTED
        return (unknown if self.rows is None else f"{self.rows:,}") + validation

    def _steps(self) -> str:
        return "unknown without the rows" if self.steps is None else f"{self.steps:,} an epoch"

    def _order(self) -> str:
        if self.order != "canonical":
            return "as placed: the rows of a step depend on the number of workers"
        maybe = "" if self.windows is False else ", unless they are more than the memory holds"
        return f"canonical: the rows of a step are the same on any number of workers{maybe}"

    def _memory(self) -> str:
        budget = f"{size(self.memory or 0)} a worker (spark.orca.data.memory)"
        if not self.row_bytes:
            return budget
        each = f"{self.row_bytes:,} bytes a row"
        if self.memory_needed is None or self.windows is None:
            held = (self.memory or 0) // self.row_bytes
            return f"{budget}, which holds {held:,} rows of {each} or more"
        how = "taken in windows, as they are more" if self.windows else "all in memory"
        return f"{size(self.memory_needed)} of rows, {each}, in {budget}: {how}"

    def _gradients(self) -> str:
        if self.gradient_bytes is None:
            return "unknown until the model is made: build=True makes it on one worker"
        if self.workers == 1:
            return f"{size(self.gradient_bytes)} a step, which one worker keeps to itself"
        return f"up to {size(self.gradient_bytes)} a step, added up over all workers"

    def _state(self) -> str:
        if self.state_bytes is None:
            return "unknown until the model is made"
        more = "" if self.is_trained else ", to which the optimizer adds its own in the first step"
        return f"{size(self.state_bytes)}{more}"

    def _columns(self) -> Sequence[Sequence[str]]:
        return [
            (one.role, one.name, one.column, one.dtype, _shape(one.shape)) for one in self.columns
        ]

    def _verdict(self) -> list[str]:
        if not self.refused:
            return ["fit would refuse nothing of this"]
        lines = [f"fit would refuse {several(len(self.refused), 'thing')}:"]
        for number, error in enumerate(self.refused, 1):
            first, *more = str(error).splitlines() or [type(error).__name__]
            lines += [f"{number}. {first}", *(f"   {line}" for line in more)]
        if self.stopped:
            lines.append(f"What comes behind that could not be looked at: {self.stopped}")
        return lines


def _shape(shape: Sequence[int | None]) -> str:
    if not shape:
        return "one value"
    return " x ".join("?" if length is None else str(length) for length in shape)
