"""Says on the driver whose loader has made no batch for long.

Loaders are the user's own code, which may take its time, so nothing limits it. But every step waits
for the slowest worker, and without a word nobody would know for which.
"""

import threading
import time
import weakref
from collections.abc import Callable

from zoo.orca.wire.messages.progress import Progress, Warned

#: Seconds until the first word; the next ones come after twice as many, four times and so on.
SECONDS = 60.0
_LOOK_SECONDS = 1.0


class Waiting:
    """Tells how long a ``with`` block of this rank has been at work.

    Parameters
    ----------
    report : callable
    told : str
        What is said; `{seconds}` in it is how long it has taken.
    """

    def __init__(self, report: Callable[[Progress], None], told: str) -> None:
        self._report, self._told = report, told
        self._since = 0.0  # 0 outside of a block
        self._said = (0.0, 0.0)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        """Begin; this comes in every step, so it does next to nothing."""
        self._since = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(
                target=_look, args=(weakref.ref(self),), name="orca-waiting", daemon=True
            )
            self._thread.start()

    def __exit__(self, *exc: object) -> None:
        """End."""
        self._since = 0.0

    def look(self) -> None:
        """Report if it is due; called from another thread."""
        since = self._since
        seconds = time.monotonic() - since
        # Of a block that has begun since the last word, nothing was said.
        before, due = self._said
        if since and seconds >= (due if before == since else SECONDS):
            self._said = (since, 2 * seconds)
            self._report(Warned(text=self._told.format(seconds=round(seconds))))


def _look(watched: "weakref.ref[Waiting]") -> None:
    """Look once a second, until nobody holds what is watched."""
    while True:
        time.sleep(min(_LOOK_SECONDS, SECONDS))
        waiting = watched()
        if waiting is None:
            return
        waiting.look()
        del waiting
