"""One thread that runs several transfers at once: small generators over non-blocking sockets.

A task does what it can without waiting, then yields one of three things. :data:`MOVED` asks to be
called again at once. :data:`LATER` asks to be called when another task has moved. A link and event
say what it waits for.
"""

import os
import select
import time
from collections.abc import Collection, Generator, Iterable, Sequence
from typing import Any, Final, TypeAlias

from zoo.orca.errors import PeerLostError
from zoo.orca.worker.collective.headers import GOODBYE
from zoo.orca.worker.collective.sockets import EAGER_BYTES, Link

#: The link and the event of `poll` that a task awaits.
Want: TypeAlias = tuple[Link | None, int]
Task: TypeAlias = Generator[Want, None, None]
MOVED: Final[Want] = (None, 1)
LATER: Final[Want] = (None, 2)
# Only Linux tells a closed peer from one that sent data. Elsewhere the read finds it.
_PEER_CLOSED: Final[int] = getattr(select, "POLLRDHUP", 0)
_BROKEN: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL
_LONGEST_POLL_SECONDS: Final = 86400.0
#: A call and its first data fit into this; see `sockets.EAGER_BYTES`.
_LAST_BYTES: Final = 2 * EAGER_BYTES
#: The bell of shared memory is checked at least this often, rung or not.
_LONGEST_BELL_SECONDS: Final = 1.0


def push(link: Link, view: memoryview) -> Task:
    """Send all of `view`, and what the link holds."""
    while view or link.holds:
        count = link.send(view)
        view = view[count:]
        if view or link.holds:
            yield MOVED if count else (link, select.POLLOUT)


def push_call(link: Link, header: bytes, data: Any) -> Task:
    """Send a header and its data, in one packet if they fit."""
    count = link.send(header, data)
    if link.holds or count < len(header) + len(data):
        yield from push(link, memoryview(b"".join((header, data)))[count:])


def pull(link: Link, view: memoryview) -> Task:
    """Fill all of `view`."""
    while view:
        count = link.receive(view)
        view = view[count:]
        if view:
            # One piece at a time, so that a peer that sends without end cannot stop our sending.
            yield MOVED if count else (link, select.POLLIN)


class Loop:
    """Runs tasks, and watches all links meanwhile.

    Parameters
    ----------
    links : sequence of Link
    spin : float
        Seconds to poll before sleeping: waking up takes longer than most waits for a peer that
        computes the same.
    """

    def __init__(self, links: Sequence[Link], spin: float) -> None:
        self._links = {link.fd: link for link in links}
        self.spin = spin
        self._name = ""
        self._seconds = 0.0
        self._deadline = 0.0

    def begin(self, name: str, seconds: float) -> None:
        """Start the clock of one operation."""
        self._name, self._seconds = name, seconds
        self._deadline = time.monotonic() + seconds

    def run(self, tasks: Iterable[Task]) -> None:
        """Return once all `tasks` are done.

        Raises
        ------
        PeerLostError
            Any peer is gone, waited for or not, or the operation's time is over.
        """
        running = list(tasks)
        spin_until = 0.0
        while running:
            blocked: list[Task] = []
            wants: list[Want] = []
            moved = False
            for task in running:
                want = next(task, None)
                if want is None:
                    moved = True
                    continue
                blocked.append(task)
                if want is MOVED:
                    moved = True
                elif want is not LATER:
                    wants.append(want)
            running = blocked
            if moved:
                spin_until = 0.0
            elif not spin_until:
                spin_until = time.monotonic() + self.spin
            elif time.monotonic() >= spin_until:
                self._sleep(wants)
            else:
                # The peer may be waiting for this very processor.
                os.sched_yield()

    def _sleep(self, wants: list[Want]) -> None:
        """Wait for one of `wants`; other peers may still be found lost."""
        awaited: dict[int, int] = {}
        for link, event in wants:
            if link is not None:
                awaited[link.fd] = awaited.get(link.fd, 0) | event
        rest = self._deadline - time.monotonic()
        if rest <= 0:
            raise self._timed_out(awaited)
        self._look(awaited, min(rest, _LONGEST_POLL_SECONDS))

    def wait(self, bell: int, link: Link) -> None:
        """Sleep until the descriptor `bell` is readable, or a peer leaves.

        Raises
        ------
        PeerLostError
            Any peer is gone, or the operation's time is over while `link` is awaited.
        """
        rest = self._deadline - time.monotonic()
        if rest <= 0:
            raise self._timed_out([link.fd])
        self._look({}, min(rest, _LONGEST_BELL_SECONDS), bell)

    def look_for_lost(self) -> None:
        """Raise if a peer is known to be gone; does not wait."""
        self._look({}, 0.0)

    def _look(self, awaited: dict[int, int], seconds: float, bell: int = -1) -> None:
        poller = select.poll()
        if bell >= 0:
            poller.register(bell, select.POLLIN)
        for fd, link in self._links.items():
            # `poll` always reports errors. So a silent host is found even while this rank waits for
            # another, healthy one that computes for an hour.
            end = 0 if link.departed else _PEER_CLOSED
            if fd in awaited or not link.at_ease:
                poller.register(fd, awaited.get(fd, 0) | end)
        for fd, event in poller.poll(seconds * 1000):
            if fd == bell:
                continue
            link = self._links[fd]
            if event & awaited.get(fd, 0):
                continue  # the task finds out itself, after the data that came before
            if event & _BROKEN:
                raise link.error()
            self._depart(link)

    def _depart(self, link: Link) -> None:
        """Look at the last bytes of a peer that has closed and that no task waits for.

        It may have called what this rank calls later, and died: then its end has no goodbye. Of
        longer data the end is not seen yet, and the peer counts as one that needs nothing more.
        """
        words = link.peek(_LAST_BYTES)
        if words is not None and len(words) < _LAST_BYTES and not words.endswith(GOODBYE):
            raise link.lost()
        link.departed = True
        link.at_ease = words == GOODBYE

    def _timed_out(self, awaited: Collection[int]) -> PeerLostError:
        links = [self._links[fd] for fd in awaited]
        names = ", ".join(f"{link.rank} at {link.address[0]}" for link in links)
        return PeerLostError(
            f"{self._name} took longer than its limit of {self._seconds:g} s; "
            f"this rank was still waiting for rank {names}",
            rank=links[0].rank if links else None,
            host=links[0].address[0] if links else None,
        )
