"""`plan` and `verify`, which every estimator has: they take the arguments of its `fit`."""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from zoo.orca.driver.reports.display import present
from zoo.orca.learn.docstrings import PARAMETERS, parts
from zoo.orca.learn.ended import needs_session
from zoo.orca.learn.planning.facts import planned
from zoo.orca.learn.planning.plan import FitPlan
from zoo.orca.learn.planning.trials import verified
from zoo.orca.learn.planning.verification import Verification


class Planned:
    """What an estimator tells of a `fit` before it is run."""

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        fit = vars(cls).get("fit")
        if fit is not None:
            for name in ("plan", "verify"):
                setattr(cls, name, _with_arguments_of(fit, vars(Planned)[name]))

    def plan(
        self, data: Any, *arguments: Any, count: bool = False, build: bool = False, **named: Any
    ) -> FitPlan:
        """Tell what `fit` would do with the same arguments, and all that it would refuse.

        The checks are those of `fit`. No job runs, but for `count` and `build`; an XShards computes
        one of its shards, as it does in `fit`. The estimator stays as it is.

        Parameters
        ----------
        data : DataFrame, pandas or Arrow table, dict of arrays, or data creator
        *arguments, **named : object
            The arguments of `fit`.
        count : bool
            Whether to count the rows: a Spark job over all of them.
        build : bool
            Whether to make a model that has no weights yet, on one worker, for its size.

        Returns
        -------
        FitPlan
            It is printed, too; in a notebook it shows itself.
        """
        found = planned(self, (data, *arguments), named, count=count, build=build)
        present(found)
        return found

    @needs_session
    def verify(
        self,
        data: Any,
        *arguments: Any,
        steps: int = 20,
        workers: Sequence[int] = (1, 2),
        **named: Any,
    ) -> Verification:
        """Train the same steps on each number of workers; tell how far the results are apart.

        All begin with the same weights: the estimator's, or those of a model that is made for it.
        The estimator stays as it is, and nothing is written to `model_dir`.

        Parameters
        ----------
        data : DataFrame, pandas or Arrow table, dict of arrays, or data creator
        *arguments, **named : object
            The arguments of `fit`. How long it trains, how it validates, and where it writes
            checkpoints do not count here: leave callbacks out that write files.
        steps : int
            Steps to train; the first is not timed.
        workers : sequence of int
            The numbers of workers to compare; the first is what the others are compared with.

        Returns
        -------
        Verification
            It is printed, too; in a notebook it shows itself.

        Raises
        ------
        SlotsError
            If there are too few slots for one of the numbers; before anything starts.
        OrcaError
            As `fit`.
        """
        found = verified(self, (data, *arguments), named, steps=steps, workers=workers)
        present(found)
        return found


def _with_arguments_of(fit: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that says, to `help` and to editors, that it takes what `fit` takes."""

    @wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        return method(*arguments, **named)

    given = inspect.signature(fit).parameters.values()
    own = [one for one in inspect.signature(method).parameters.values() if one.kind is _BY_NAME]
    last = [one for one in given if one.kind is inspect.Parameter.VAR_KEYWORD]
    first = [one for one in given if one.kind is not inspect.Parameter.VAR_KEYWORD]
    returns = inspect.signature(method).return_annotation
    signature = inspect.Signature([*first, *own, *last], return_annotation=returns)
    call.__signature__ = signature  # type: ignore[attr-defined]
    before, described, after = parts(method)
    blocks = [*parts(fit)[1].values(), *(described[one.name] for one in own)]
    call.__doc__ = "".join([before, PARAMETERS, "\n".join(blocks), after])
    return call


_BY_NAME = inspect.Parameter.KEYWORD_ONLY
