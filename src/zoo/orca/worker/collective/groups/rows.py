"""Operations among many hosts, in rows and between rows; a rank needs few links and messages.

========== ======================================================================================
all_reduce
 small     each row adds, then the ranks in the same place of each row: all of them come to the
           same sum. A longer row's last rank gets it from the row's first
 large     in shares: each rank adds one share of its row's data, the ranks in the same place of
           each row add theirs, and each row copies the sums. It sends no more than a ring
 larger    in a ring of all if all are connected: it adds and sends while it receives
all_gather each rank to each if all are connected, and else as the others
broadcast, barrier
           within the rows, then between their first ranks, then within the rows again
========== ======================================================================================

With r ranks a row, a small sum takes ``r - 1`` messages a rank at each level. Every operation
begins in the rows and goes on between them. So ranks that call different ones meet somewhere, and
find it out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from zoo.orca.worker.collective.groups.layout import group_of, rows_of
from zoo.orca.worker.collective.groups.nested import Nested
from zoo.orca.worker.collective.headers import with_length
from zoo.orca.worker.collective.protocol import Buffer
from zoo.orca.worker.collective.sockets import Link
from zoo.orca.worker.collective.streams import Streams
from zoo.orca.worker.collective.transfers import Loop
from zoo.orca.worker.collective.transport import Transport

#: Up to this, to send everything at each level takes less time than a second round of messages.
_WHOLE_BYTES: Final = 16 << 10
#: Above this, a ring of all takes less time than rows. Measured, see benchmarks/ranks.py.
_RING_BYTES: Final = 8 << 20


def among(
    rank: int, ranks: Sequence[int], links: Mapping[int, Link], loop: Loop, *, meshed: bool
) -> Transport:
    """Return the transport among `ranks`, each on a host of its own or taken as if it were.

    Parameters
    ----------
    rank : int
        This one, one of them.
    ranks : sequence of int
        In order.
    links : dict of int to Link
        By rank, at least those of `layout.partners`.
    loop : Loop
    meshed : bool
        Whether every rank has links to all others.
    """
    rows = rows_of(ranks)
    if len(rows) > 1:
        return HostRows(rank, rows, links, loop, meshed=meshed)
    return Streams(rank, [links[other] for other in ranks if other != rank], loop)


class HostRows(Nested):
    """The transport among more hosts than one row has.

    Parameters
    ----------
    rank : int
    rows : sequence of sequence of int
        The ranks of each row, in order.
    links : dict of int to Link
        By rank, at least those of `layout.partners`.
    loop : Loop
    meshed : bool
        Whether every rank has links to all others. All ranks must decide it alike, and a rank of
        few may have all its links without the others having theirs.
    """

    def __init__(
        self,
        rank: int,
        rows: Sequence[Sequence[int]],
        links: Mapping[int, Link],
        loop: Loop,
        *,
        meshed: bool,
    ) -> None:
        def far(ranks: Sequence[int]) -> Transport:
            return among(rank, ranks, links, loop, meshed=meshed)

        def streams(ranks: Sequence[int]) -> Streams:
            return Streams(rank, [links[other] for other in ranks if other != rank], loop)

        self._row = streams(group_of(rank, rows))
        super().__init__(rank, rows, self._row, far)
        #: Among all ranks, if all are connected.
        self._all = streams([other for row in rows for other in row]) if meshed else None

    def all_reduce(self, header: bytes, flat: NDArray[Any], *, rounded: bool) -> None:
        """Replace `flat` by the sum over ranks; bit-identical on all ranks."""
        if flat.nbytes <= _WHOLE_BYTES:
            self._row.all_reduce(header, flat, rounded=rounded)
            if self._beside is not None:
                self._beside.all_reduce(header, flat, rounded=rounded)
            self._row.hand_on(flat, len(self._carriers))
            return
        if self._all is not None and flat.nbytes > _RING_BYTES and not rounded:
            self._all.all_reduce(header, flat)
            return
        shares = np.array_split(flat, len(self._carriers))
        self._row.sum_shares(header, shares, rounded=rounded)
        if self._beside is not None:
            own = shares[self._place]
            self._beside.all_reduce(with_length(header, own.nbytes), own, rounded=rounded)
        self._row.copy_shares(shares, rounded=rounded)

    def all_gather(self, header: bytes, data: memoryview) -> dict[int, Buffer]:
        """Return the other ranks' data by rank."""
        if self._all is not None:
            return self._all.all_gather(header, data)
        return super().all_gather(header, data)
