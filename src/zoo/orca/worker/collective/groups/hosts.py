"""Operations among several ranks on each of several hosts: memory within a host, sockets between.

One rank of each host, its first, speaks for the host. So what a host sends does not grow with its
ranks.

========== ======================================================================================
all_reduce the ranks of a host add into its first rank; the first ranks add among themselves; each
           rank copies the sum from its host's first
 large     the same in as many shares as every host has ranks: the first ranks carry the first
           share, the second ranks the second. So all processors of a host add, send and receive
all_gather, broadcast, barrier
           the ranks of a host, then the first ranks, then the ranks of a host again
========== ======================================================================================

The order of additions follows the layout alone: by rank within a host, then as the hosts add. So
all ranks have the same bits, and so has each run of the same layout.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from zoo.orca.worker.collective.groups.nested import Far, Nested, packed, unpacked
from zoo.orca.worker.collective.headers import with_length
from zoo.orca.worker.collective.protocol import Buffer, Merge
from zoo.orca.worker.collective.shared_memory import SharedMemory

#: More data than this is worth a message from each carrier.
_SHARED_BYTES: Final = 256 << 10


class Hosts(Nested):
    """The transport between hosts of which some have several ranks; see `Nested`."""

    def __init__(
        self, rank: int, groups: Sequence[Sequence[int]], near: SharedMemory | None, far: Far
    ) -> None:
        super().__init__(rank, groups, near, far)
        self._memory = near

    def all_reduce(self, header: bytes, flat: NDArray[Any], *, rounded: bool) -> None:
        """Replace `flat` by the sum over ranks; only what goes between hosts is rounded."""
        shares = [flat]
        if flat.nbytes > _SHARED_BYTES:
            shares = np.array_split(flat, len(self._carriers))
        if self._memory is not None:
            self._memory.sum_shares(header, shares)
        if self._beside is not None and self._place < len(shares):
            own = shares[self._place]
            self._beside.all_reduce(with_length(header, own.nbytes), own, rounded=rounded)
        if self._memory is not None:
            self._memory.copy_shares(shares)

    def gather_merged(self, header: bytes, data: memoryview, merge: Merge) -> list[Buffer]:
        """Return each host's messages, made one by `merge`, in the order of the hosts."""
        together: Sequence[Buffer] = [data]
        if self._memory is not None:
            near = {**self._memory.all_gather(header, data), self._rank: data}
            together = [near[rank] for rank in sorted(near)]
        whole = memoryview(b"")
        if self._between is not None:
            ours = memoryview(merge(together) if len(together) > 1 else data)
            theirs = self._between.all_gather(with_length(header, len(ours)), ours)
            all_of = {**theirs, self._rank: ours}
            whole = packed([all_of[first] for first in sorted(all_of)])
        return list(unpacked(self._from_first(header, whole), [len(self._groups)]))
