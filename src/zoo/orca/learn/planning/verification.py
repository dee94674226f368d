"""What `verify` has found: the same steps, trained on several numbers of workers."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from zoo.orca.learn.planning.tables import as_html, as_text, several

#: Above this share of a tensor's largest number, it is more than the order of float additions.
_SAME = 1e-4
_HEAD = ("workers", "loss", "weights differ by", "of their size", "rows a second", "order")
_REASONS = (
    "What may be the reason, of a model that is right:",
    "- dropout and other random layers draw for each worker's own rows",
    "- batch normalisation takes the mean of each worker's own rows (PyTorch: "
    "sync_batch_norm=True takes that of all)",
    "- a loss that is no mean over the rows, or a step of your own",
    "- data of a creator, which each worker makes for itself",
    "- more rows than the memory of a worker holds (the order above is then as placed)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The same steps on one number of workers.

    Parameters
    ----------
    workers : int
    loss : float or None
        The mean over the steps.
    difference, relative : float
        The largest difference of a weight from that of the first trial, and the largest as a
        share of the largest number in the same tensor. 0 for the first trial itself.
    tensor : str
        The weights of which `relative` is; empty if none differ.
    rate : float or None
        Rows a second, over all workers, without the first step; None if it was not timed.
    order : str
        As of what `fit` returns.
    """

    workers: int
    loss: float | None
    difference: float
    relative: float
    tensor: str
    rate: float | None
    order: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether the numbers are the same on each number of workers, and whether more of them pay.

    Attributes
    ----------
    trials : tuple of Trial
    steps : int
    stays : tuple of int
        The numbers of workers for which `fit` would leave the rows where they lie. Here they moved.
    """

    trials: tuple[Trial, ...]
    steps: int
    stays: tuple[int, ...] = ()

    @property
    def same(self) -> bool:
        """Whether weights are the same everywhere, up to the order of float additions."""
        return all(one.relative <= _SAME for one in self.trials)

    def __str__(self) -> str:
        return "\n".join([*as_text([_HEAD, *self._rows()]), "", *self._verdict()])

    def __repr__(self) -> str:
        numbers = tuple(one.workers for one in self.trials)
        return f"Verification(workers={numbers}, steps={self.steps}, same={self.same})"

    def _repr_html_(self) -> str:
        verdict = escape("\n".join(self._verdict()))
        return f"{as_html(self._rows(), _HEAD)}<pre>{verdict}</pre>"

    def _rows(self) -> Sequence[Sequence[str]]:
        return [
            (
                str(one.workers),
                "" if one.loss is None else f"{one.loss:.6g}",
                f"{one.difference:.3g}" if place else "",
                f"{one.relative:.3g}" if place else "",
                "not timed" if one.rate is None else f"{one.rate:,.0f}",
                one.order,
            )
            for place, one in enumerate(self.trials)
        ]

    def _verdict(self) -> list[str]:
        steps = several(self.steps, "step")
        lines = []
        if len(self.trials) < 2:
            lines.append(f"One number of workers, for {steps}: there is nothing to compare")
        elif self.same:
            lines.append(
                f"The same after {steps}, up to the order in which floats are added: the number of "
                "workers decides nothing but the time"
            )
        else:
            worst = max(self.trials, key=lambda one: one.relative)
            lines.append(
                f"Not the same after {steps}: {worst.tensor} on "
                f"{several(worst.workers, 'worker')} differs by {worst.relative:.2g} of its size"
            )
            lines += _REASONS
        lines += self._speed()
        if self.stays:
            lines.append(
                "fit would leave the rows where they lie on "
                f"{several(self.stays[-1], 'worker')}, and their order would depend on it; here "
                "they moved, as with shuffle=True"
            )
        return lines

    def _speed(self) -> list[str]:
        first, lines = self.trials[0], []
        for one in self.trials[1:]:
            if not first.rate or not one.rate:
                continue
            gain = one.rate / first.rate
            pays = "they pay" if gain > 1.05 else "they do not pay"
            lines.append(
                f"{several(one.workers, 'worker')}: {gain:.2f} x the rows a second of "
                f"{first.workers}: {pays} for steps of this size"
            )
        return lines
