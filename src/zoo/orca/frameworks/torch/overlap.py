"""Sends gradients while the backward pass still computes others.

::

    backward     | gradient 5 | gradient 4 | gradient 3 | gradient 2 | gradient 1 |
    the thread                | sum of 5 and 4          | sum of 3 and 2          | sum of 1 |

The buffer has the parameters in the order in which their gradients become ready, as all ranks have
agreed. A thread sums one part of it after another, always in this order: so all ranks make the same
calls, whatever is ready first on each. Gradients themselves stay as they are until all sums are
there.
"""

import queue
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from zoo.orca.frameworks.torch.dense import Array, Dense
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.collective.ring import Ring

#: Fewer bytes of gradients than this are sent at once. Measured, see benchmarks/crossover.py.
LEAST_BYTES: Final = 2 << 20
#: The least that is sent at once, except at the end.
_PART_BYTES: Final = 1 << 20


def pays(collective: Collective, count: int) -> bool:
    """Whether so many numbers are better sent while others are computed; alike on all ranks.

    Within a host, what sends takes the processor from what computes.
    """
    ring = getattr(collective, "exact", collective)
    return isinstance(ring, Ring) and ring.spans_hosts and 4 * count >= LEAST_BYTES


def agreed_order(own: Sequence[int], count: int, collective: Collective) -> list[int]:
    """Return the order of so many gradients as the first rank has seen most; called on all ranks.

    Those that no rank has seen come last, as they would in a backward pass.
    """
    told = collective.all_gather(np.array(list(dict.fromkeys(own)), np.int64).tobytes())
    orders = [np.frombuffer(one, np.int64).tolist() for one in told]
    seen = max(orders, key=len)
    return [*seen, *sorted(set(range(count)) - set(seen), reverse=True)]


class SumThread:
    """A thread that makes sums in the order in which they are asked for, until it is stopped."""

    def __init__(self, collective: Collective) -> None:
        self._collective = collective
        self._asked: queue.SimpleQueue[Array | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._open = 0
        self._thread: threading.Thread | None = None

    def put(self, array: Array) -> None:
        """Let `array` be replaced by its sum over ranks."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gradients", daemon=True)
            self._thread.start()
        self._open += 1
        self._asked.put(array)

    def finish(self) -> None:
        """Return once all sums are there; raises what one of them has raised."""
        while self._open:
            # no limit: each operation of the ring has its own
            answer = self._answers.get()
            self._open -= 1
            if answer is not None:
                self._open = 0
                raise answer

    def stop(self) -> None:
        """Let the thread end with the sum that it is at; does not wait.

        A peer may never take part in that sum. Then the thread ends when the ring does.
        """
        if self._thread is not None:
            self._asked.put(None)
            self._thread = None

    def _run(self) -> None:
        # no limit: `stop` ends it, and it does not outlive the process
        while (array := self._asked.get()) is not None:
            try:
                self._collective.all_reduce(array)
            except BaseException as error:
                self._answers.put(error)
                return
            self._answers.put(None)


class Overlapped(Dense):
    """Gradients in one buffer, parts of which are summed as soon as they are ready.

    Parameters
    ----------
    parameters : list of torch.nn.Parameter
        In the order in which their gradients become ready, the same on all ranks.
    dtype : torch.dtype
    collective : Collective
    """

    def __init__(
        self, parameters: list[torch.nn.Parameter], dtype: torch.dtype, collective: Collective
    ) -> None:
        super().__init__(parameters, dtype, collective)
        self._sums = SumThread(collective)
        self._parts: list[Array] = []
        self._sizes: list[int] = []
        self._part_of: list[int] = []
        start = end = members = 0
        for number, parameter in enumerate(parameters):
            self._part_of.append(len(self._parts))
            end += parameter.numel()
            members += 1
            if 4 * (end - start) >= _PART_BYTES or number == len(parameters) - 1:
                self._parts.append(self._values[start:end].numpy())
                self._sizes.append(members)
                start, members = end, 0
        self._gives_up = False
        self._reset()

    def ready(self, number: int) -> None:
        """Take a parameter's gradient, and let each part be sent that is complete."""
        if self._gives_up:
            return
        if self._is_put[number]:
            # Such as a backward pass within another one: the gradient has grown since.
            if self._part_of[number] < self._next:
                self._came_again = True
                return
        else:
            self._is_put[number] = True
            self._missing[self._part_of[number]] -= 1
        self._take(number)
        self._send_complete()

    def exchange(self, scale: float, divisor: torch.Tensor | None) -> None:
        """Wait for the sums of what was ready, and make the others'."""
        if self._gives_up:
            super().exchange(scale, divisor)
            return
        if scale != 1.0:
            raise ValueError("gradients were sent before they could be scaled")
        for number, is_put in enumerate(self._is_put):
            if not is_put:
                self._take(number)
        self._missing = [0] * len(self._parts)
        self._send_complete()
        self._sums.finish()
        self._set_rest(divisor, again=self._came_again)
        self._sum_rest()
        if self._must_repeat:
            # Some rank has sent less than its gradient. All still have theirs.
            self._gives_up = True
            super().exchange(scale, divisor)
        else:
            self._hand_out(divisor)
        self._reset()

    def stop(self) -> None:
        """Let the thread end."""
        self._sums.stop()

    def _reset(self) -> None:
        self._is_put = [False] * len(self._parameters)
        self._missing = list(self._sizes)
        self._next = 0
        self._came_again = False

    def _take(self, number: int) -> None:
        gradient = self._parameters[number].grad
        self._marks[number] = 0.0 if gradient is None else 1.0
        if gradient is None:
            self._views[number].zero_()
        else:
            gradient = gradient.detach()
            self._views[number].copy_(gradient.to_dense() if gradient.is_sparse else gradient)

    def _send_complete(self) -> None:
        """Send the next parts as far as they are complete, and none before another."""
        while self._next < len(self._parts) and not self._missing[self._next]:
            self._sums.put(self._parts[self._next])
            self._next += 1
