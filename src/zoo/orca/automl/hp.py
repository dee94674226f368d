"""Spaces of hyperparameters, by the original's names.

Each function describes how a search draws one value. A description does nothing until a trial of
`zoo.orca.automl.auto_estimator.AutoEstimator` draws from it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zoo.orca.errors import InvalidInputError

__all__ = [
    "choice",
    "choice_n",
    "grid_search",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "sample_from",
    "uniform",
]


class Draws(Protocol):
    """What a space draws with; a trial of Optuna is one.

    Optuna's search learns from what it drew itself. So spaces that it does not have are made of
    those that it has.
    """

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number between two."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Return a whole number from one to another."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of several."""


class Space:
    """How one hyperparameter comes to its value."""


class Drawn(Space, ABC):
    """How one hyperparameter is drawn."""

    @abstractmethod
    def draw(self, draws: Draws, name: str) -> Any:
        """Return a value for the hyperparameter of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform(Drawn):
    """A float; `step` is the grain that it is rounded to, `log` says that its logarithm counts."""

    lower: float
    upper: float
    step: float | None = None
    log: bool = False

    def draw(self, draws: Draws, name: str) -> float:
        """Return a float."""
        if self.step is None or not self.log:
            return draws.suggest_float(name, self.lower, self.upper, step=self.step, log=self.log)
        return _rounded(draws.suggest_float(name, self.lower, self.upper, log=True), self.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer(Drawn):
    """A whole number, both bounds included."""

    lower: int
    upper: int
    step: int = 1
    log: bool = False

    def draw(self, draws: Draws, name: str) -> int:
        """Return a whole number."""
        if not self.log:
            return draws.suggest_int(name, self.lower, self.upper, step=self.step)
        drawn = draws.suggest_int(name, self.lower, self.upper, log=True)
        return int(_rounded(drawn, self.step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal(Drawn):
    """A float with a normal distribution, drawn by its place in it: a search learns places."""

    mean: float
    std: float
    step: float | None = None

    def draw(self, draws: Draws, name: str) -> float:
        """Return a float."""
        from statistics import NormalDist

        place = draws.suggest_float(name, _EDGE, 1 - _EDGE)
        value = NormalDist(self.mean, self.std).inv_cdf(place)
        return value if self.step is None else _rounded(value, self.step)


@dataclass(frozen=True, slots=True)
class Choice(Drawn):
    """One of several values of any kind."""

    categories: tuple[Any, ...]

    def draw(self, draws: Draws, name: str) -> Any:
        """Return one of the values."""
        labels = labels_of(self.categories)
        return self.categories[labels.index(draws.suggest_categorical(name, labels))]


@dataclass(frozen=True, slots=True)
class Grid(Choice):
    """Values of which each is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset(Drawn):
    """Some of several values, in their order: those with the highest of numbers that are drawn."""

    categories: tuple[Any, ...]
    least: int
    most: int

    def draw(self, draws: Draws, name: str) -> list[Any]:
        """Return some of the values."""
        count = draws.suggest_int(f"{name}/count", self.least, self.most)
        numbers = [
            (draws.suggest_float(f"{name}/{place}", 0.0, 1.0), -place)
            for place in range(len(self.categories))
        ]
        chosen = sorted(-place for _, place in sorted(numbers, reverse=True)[:count])
        return [self.categories[place] for place in chosen]


@dataclass(frozen=True, slots=True)
class Computed(Space):
    """A value that a function computes of the others."""

    function: Callable[..., Any]


#: The normal distribution has no quantile of 0 or 1.
_EDGE = 1e-6
#: What Optuna's storages keep as a category.
_PLAIN = (str, int, float, bool, type(None))


def labels_of(categories: Sequence[Any]) -> list[Any]:
    """Return what stands for values in a storage, which knows only plain ones."""
    plain = [one for one in categories if isinstance(one, _PLAIN)]
    if len(set(plain)) == len(categories):  # 1 and True, which are equal, are not distinct
        return list(categories)
    return [f"{place}: {one!r}"[:80] for place, one in enumerate(categories)]


def uniform(lower: float, upper: float) -> Space:
    """Draw a float between `lower` and `upper`."""
    _check_bounds("uniform", lower, upper)
    return Uniform(lower=float(lower), upper=float(upper))


def quniform(lower: float, upper: float, q: float) -> Space:
    """Draw a multiple of `q` from `lower` to `upper`, which are multiples, too."""
    _check_bounds("quniform", lower, upper, q)
    return Uniform(lower=float(lower), upper=float(upper), step=float(q))


def loguniform(lower: float, upper: float, base: float = 10) -> Space:
    """Draw a float between `lower` and `upper` whose logarithm is uniform, to whatever `base`."""
    _check_bounds("loguniform", lower, upper, log=True)
    return Uniform(lower=float(lower), upper=float(upper), log=True)


def qloguniform(lower: float, upper: float, q: float, base: float = 10) -> Space:
    """Draw as `loguniform`, and round to a multiple of `q`."""
    _check_bounds("qloguniform", lower, upper, q, log=True)
    return Uniform(lower=float(lower), upper=float(upper), step=float(q), log=True)


def randn(mean: float = 0.0, std: float = 1.0) -> Space:
    """Draw a float with a normal distribution."""
    _check_std("randn", std)
    return Normal(mean=float(mean), std=float(std))


def qrandn(mean: float, std: float, q: float) -> Space:
    """Draw as `randn`, and round to a multiple of `q`."""
    _check_std("qrandn", std)
    _check_grain("qrandn", q)
    return Normal(mean=float(mean), std=float(std), step=float(q))


def randint(lower: int, upper: int) -> Space:
    """Draw a whole number from `lower` to `upper`, both included."""
    _check_bounds("randint", lower, upper, whole=True)
    return Integer(lower=int(lower), upper=int(upper))


def qrandint(lower: int, upper: int, q: int = 1) -> Space:
    """Draw a multiple of `q` from `lower` to `upper`, both included, which are multiples, too."""
    _check_bounds("qrandint", lower, upper, q, whole=True)
    return Integer(lower=int(lower), upper=int(upper), step=int(q))


def lograndint(lower: int, upper: int, base: float = 10) -> Space:
    """Draw a whole number whose logarithm is uniform, both bounds included."""
    _check_bounds("lograndint", lower, upper, whole=True, log=True)
    return Integer(lower=int(lower), upper=int(upper), log=True)


def qlograndint(lower: int, upper: int, q: int, base: float = 10) -> Space:
    """Draw as `lograndint`, and round to a multiple of `q`."""
    _check_bounds("qlograndint", lower, upper, q, whole=True, log=True)
    return Integer(lower=int(lower), upper=int(upper), step=int(q), log=True)


def choice(categories: Sequence[Any]) -> Space:
    """Draw one of several values of any kind."""
    return Choice(_several("choice", categories))


def choice_n(categories: Sequence[Any], min_items: int, max_items: int) -> Space:
    """Draw `min_items` to `max_items` different ones of several values."""
    known = _several("choice_n", categories)
    if not 0 <= min_items <= max_items <= len(known):
        raise InvalidInputError(
            f"hp.choice_n: min_items={min_items} to max_items={max_items} cannot be drawn from "
            f"{len(known)} values\nWrite 0 <= min_items <= max_items <= {len(known)}"
        )
    return Subset(categories=known, least=int(min_items), most=int(max_items))


def sample_from(func: Callable[..., Any]) -> Space:
    """Compute a value of those before it: ``func(spec)`` finds them in ``spec.config``."""
    if not callable(func):
        raise InvalidInputError(
            f"hp.sample_from: func is a {type(func).__qualname__}, and not a function\n"
            "Write hp.sample_from(lambda spec: 2 * spec.config.units)"
        )
    return Computed(func)


def grid_search(values: Sequence[Any]) -> Space:
    """Try each of several values, with each of every other grid's."""
    return Grid(_several("grid_search", values))


def _rounded(value: float, grain: float) -> float:
    return round(value / grain) * grain


def _several(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or not values:
        raise InvalidInputError(
            f"hp.{name}: {values!r} is no list of values\nWrite hp.{name}([16, 32, 64])"
        )
    return tuple(values)


def _is_number(value: Any, whole: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return not whole or value == int(value)


def _check_bounds(
    name: str,
    lower: Any,
    upper: Any,
    q: Any = None,
    *,
    whole: bool = False,
    log: bool = False,
) -> None:
    kind = "whole numbers" if whole else "numbers"
    if not _is_number(lower, whole) or not _is_number(upper, whole) or lower > upper:
        raise InvalidInputError(
            f"hp.{name}: lower={lower!r} and upper={upper!r} are not {kind} of which the first is "
            f"no larger\nWrite hp.{name}(lower, upper) with lower <= upper"
        )
    if log and lower <= 0:
        raise InvalidInputError(
            f"hp.{name}: lower={lower!r} has no logarithm\nWrite a number above 0, such as 1e-6"
        )
    if q is None:
        return
    _check_grain(name, q, whole)
    for bound in (lower, upper):
        if not math.isclose(bound / q, round(bound / q), abs_tol=1e-9):
            raise InvalidInputError(
                f"hp.{name}: {bound!r} is no multiple of q={q!r}\n"
                f"Write bounds that are, such as {_rounded(bound, q):g}"
            )


def _check_grain(name: str, q: Any, whole: bool = False) -> None:
    if not _is_number(q, whole) or q <= 0:
        raise InvalidInputError(
            f"hp.{name}: q={q!r} is no {'whole ' if whole else ''}number above 0\nWrite q=1"
        )


def _check_std(name: str, std: Any) -> None:
    if not _is_number(std) or std <= 0:
        raise InvalidInputError(
            f"hp.{name}: std={std!r} is no number above 0\nWrite std=1, or another"
        )
