"""The steps of all workers over their loaders, agreed on one by one.

Loaders may have different numbers of batches, and many do not know how many. So before each step
the ranks tell each other their rows of it, in one small sum. A rank whose batches are used up has
none, and takes part with rows that do not count, until no rank has any: then the pass ends on all.
Nobody waits for a batch that does not come, and no row is taken twice.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from zoo.orca.errors import DataError
from zoo.orca.frameworks.creators.loader import Loader, make_loader
from zoo.orca.frameworks.creators.signature import Signature, common, rows_of, signature, zeros
from zoo.orca.frameworks.creators.waiting import Waiting
from zoo.orca.wire.messages.progress import Progress
from zoo.orca.wire.plans.live import ENDLESS, LivePlan
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created

#: Turns a loader's batch into its parts by name: "x", "y" and "w".
Split = Callable[[Any], dict[str, Any]]
#: A batch's parts, and its rows.
_Rows: TypeAlias = tuple[dict[str, Any], int]


class LoaderStep(NamedTuple):
    """One step on this rank.

    Parameters
    ----------
    parts : dict of str to nest of arrays
        "x", and "y" and "w" if there are such.
    rows, of : int
        This rank's and all ranks' rows. A rank with 0 rows still has some, which do not count.
    """

    parts: dict[str, Any]
    rows: int
    of: int


class Stream:
    """The steps of one data set; made, and used, on all ranks.

    Parameters
    ----------
    created : Created
    collective : Collective
    split : callable
        From a loader's batch to its parts.
    make_zeros : callable
        Takes a shape and a dtype's name.

    Attributes
    ----------
    plan : LivePlan
    argument : str
    loader : Loader
    """

    def __init__(
        self,
        created: Created,
        collective: Collective,
        split: Split,
        make_zeros: Callable[[tuple[int, ...], str], Any],
    ) -> None:
        self.argument, self._collective = created.argument, collective
        self._split, self._make_zeros = split, make_zeros
        self.plan = LivePlan(collective.rank, collective.size, created.batch_size)
        others = ", and the other workers wait" if collective.size > 1 else ""
        self._making = Waiting(
            created.report,
            f"rank {collective.rank} has had no batch of {created.argument} for {{seconds}} s: the "
            f"creator, or the loader that it made, is still at work{others}",
        )
        self._meeting = Waiting(
            created.report if collective.rank < 2 else _unheard,
            f"rank {collective.rank} has waited for another worker's next batch of "
            f"{created.argument} for {{seconds}} s",
        )
        self.loader: Loader = make_loader(created, collective, self._making)
        created.at_end(self.close)
        self._batches: Iterator[_Rows] | None = None
        self._held: list[_Rows] = []
        self._idle: dict[str, Any] | None = None
        self._signature: Signature = None
        self._steps_in_pass = self._open_pass = 0
        self._tell_length()

    def _tell_length(self) -> None:
        """Agree on the steps of a pass, if all loaders tell; called on all ranks."""
        own = self.loader.length
        told = [json.loads(bytes(one)) for one in self._gathered(own)]
        if None not in told and max(told):
            self.plan.expected = max(told)
            self.plan.is_certain = self.loader.is_dealt

    def _gathered(self, value: object) -> Any:
        return self._collective.all_gather(json.dumps(value).encode())

    def sample(self) -> dict[str, Any]:
        """Return the parts of a first batch, of this rank's or like the others'; on all ranks.

        The batch is not used up.

        Raises
        ------
        DataError
            If there is none, or ranks' batches differ. The same on every rank.
        """
        if self._idle is None:
            if self._batches is None:
                self._open()
            first = self._pull()
            if first is not None:
                self._held.append(first)
            own = None if first is None else signature(first[0])
            told = [json.loads(bytes(one)) for one in self._gathered(own)]
            self._check_there(told)
            self._signature = common(told, self.argument)
            self._idle = first[0] if first else zeros(self._signature, self._make_zeros)
        return self._idle

    def _check_there(self, told: list[Signature]) -> None:
        empty = [rank for rank, one in enumerate(told) if one is None]
        if len(empty) == len(told):
            raise DataError(
                f"{self.argument}(config, batch_size) has made a loader without batches\n"
                "Look at what it reads, and whether drop_last leaves a batch of batch_size rows"
            )
        if empty and not self.loader.is_dealt:
            raise DataError(
                f"{self.argument}(config, batch_size) has made a loader without batches on rank "
                f"{empty[0]}, and each worker's batches are its own\n"
                "Let config['rank'] choose a part that is not empty, or take fewer workers"
            )

    def _open(self) -> None:
        """Begin the pass that the plan says, behind the steps that it has had."""
        self.close_pass()
        self._open_pass = self.plan.pass_index
        self._batches = self._parts(self._open_pass)
        self._steps_in_pass = self.plan.within
        with self._making:
            for _ in range(self._steps_in_pass):
                next(self._batches, None)

    def _parts(self, pass_index: int) -> Iterator[_Rows]:
        for batch in self.loader.batches(pass_index):
            parts = self._split(batch)
            if rows := rows_of(parts, self.argument):
                yield parts, rows

    def _pull(self) -> _Rows | None:
        if self._held:
            return self._held.pop()
        if self._batches is None:
            return None
        with self._making:
            return next(self._batches, None)

    def restart(self) -> None:
        """Let the next step be the first one again, for an evaluation."""
        if self._steps_in_pass or self._batches is None:
            self.close_pass()
            self.plan.begin(0, 0, 0)

    def check_end(self, count: int) -> None:
        """Refuse an endless loader where only its end would end the steps."""
        if count >= ENDLESS and getattr(self.loader, "is_endless", False):
            raise DataError(
                f"{self.argument}(config, batch_size) has made an endless pipeline, and nothing "
                "says how long an epoch is\nPass steps_per_epoch for data, validation_steps for "
                "validation_data, or leave .repeat() out"
            )

    def own(self) -> Iterator[dict[str, Any]]:
        """Yield this rank's parts of the pass under way; ranks agree on them by `tell`."""
        if self._batches is None or self._open_pass != self.plan.pass_index:
            self._open()
        while (pulled := self._pull()) is not None:
            yield pulled[0]

    def tell(self, rows: int) -> int:
        """Tell all ranks this one's rows of the next step; called on all ranks.

        Returns
        -------
        int
            The rows of all ranks together; 0 if the pass has ended.
        """
        with self._meeting:  # TensorFlow's own loaders tell nobody when they begin with a batch
            of = self._agree(rows)
        if not of:
            self._end(True)
        return of

    def take(
        self, count: int, *, over_passes: bool = False, agree: bool = True
    ) -> Iterator[LoaderStep]:
        """Yield up to `count` steps; called on all ranks.

        Parameters
        ----------
        count : int
        over_passes : bool
            Whether to go on with the next pass where one ends; else the iteration ends with it.
        agree : bool
            Whether ranks agree on steps. If not, each yields its own, and ends with them.
        """
        self.check_end(count)
        while count:
            # Who knows the steps of a pass takes these, and does not ask whether it has ended.
            if self._batches is None or self._open_pass != self.plan.pass_index:
                self._open()
            pulled = self._pull()
            parts, rows = pulled if pulled is not None else (None, 0)
            of = self._agree(rows) if agree else self._count(rows)
            if not of:
                self._end(agree)
                if over_passes:
                    continue
                return
            if parts is None:
                parts = self.sample()
            else:
                self._idle = self._idle or parts
            yield LoaderStep(parts, rows, of)
            count -= 1

    def _agree(self, rows: int) -> int:
        """Tell all ranks this one's rows of the next step; return those of all, 0 for no step."""
        told = [rows]
        if self._collective.size > 1:
            shares = np.zeros(self._collective.size, np.int64)
            shares[self._collective.rank] = rows
            self._collective.all_reduce(shares)
            told = shares.tolist()
        if not any(told):
            return 0
        self._steps_in_pass += 1
        return self.plan.note(told)

    def _count(self, rows: int) -> int:
        """Count a step that this rank takes alone."""
        self._steps_in_pass += bool(rows)
        return rows

    def _end(self, agree: bool) -> None:
        # Of what is dealt out, a rank alone may have nothing.
        if not self._steps_in_pass and (agree or not self.loader.is_dealt):
            raise DataError(
                f"{self.argument} has no more batches in pass {self.plan.pass_index + 1}\n"
                "Return a loader that can be iterated over again, or an iterator: the creator is "
                "called again for each pass of those"
            )
        self.plan.end_pass()
        self.close_pass()

    def close_pass(self) -> None:
        """End the pass that is under way; what it would still have is not taken."""
        batches, self._batches, self._held = self._batches, None, []
        if batches is not None:
            # A thread of TensorFlow's may be inside of it, where the pass ends with an error.
            with suppress(ValueError):
                batches.close()  # type: ignore[attr-defined]

    def close(self) -> None:
        """End the loader's processes."""
        self.close_pass()
        self.loader.close()


def _unheard(progress: Progress) -> None:
    """Say nothing: two ranks are enough to tell that another one is late."""
