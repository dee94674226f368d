"""The task's side of its child process: messages, log, heartbeat, stop, hand-over and death.

The child dies with this process, because its standard input closes.
"""

import contextlib
import errno
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar, cast

from zoo.orca.errors import WorkerDiedError, WorkerFrozenError
from zoo.orca.wire.messages.codec import MessageError
from zoo.orca.wire.messages.pipe import TO_TASK, Beat, HandedOver, HandOver, ToChild, ToTask
from zoo.orca.wire.messages.progress import Progress
from zoo.orca.wire.messages.results import Failure
from zoo.orca.worker import temporary
from zoo.orca.worker.pipes import END_OF_HOLD, END_OF_LOG, LOST_PIPE, LimitedSender, receive
from zoo.orca.worker.plain_words import MORE_MEMORY
from zoo.orca.worker.task.forks import let_go, not_in_forks
from zoo.orca.worker.task.handing import UNKNOWN, Handed, end_told_by
from zoo.orca.worker.task.starting import Running, start
from zoo.orca.worker.task.threads import Threads

_LOG_LINES = 40
_STOP_SECONDS = 5.0
#: Seconds from the end of a child's pipe to the end of the child, which closed it as it died.
_DEATH_SECONDS = 3.0
#: Seconds to wait: a user's process that a job started may hold the child's output open.
_LOG_SECONDS = 1.0
#: Seconds that an idle child has for its last words to this task.
_HAND_OVER_SECONDS = 2.0

M = TypeVar("M", bound=ToTask)
N = TypeVar("N", bound=ToTask)


class Child:
    """One running ``python -m zoo.orca.worker.child``.

    Parameters
    ----------
    environment : dict
        Variables the child gets on top of this process's.
    threads : Threads, optional
        How many threads it starts; by default as many as its framework likes.
    running : Running, optional
        The process, if it runs already; by default one is started.

    Attributes
    ----------
    threads : int
        How many threads it was started with; 0: nothing was said.
    """

    def __init__(
        self,
        environment: dict[str, str],
        threads: Threads | None = None,
        running: Running | None = None,
    ) -> None:
        self.environment = environment
        self.threads = threads.count if threads else 0
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._log_ended = threading.Event()
        self.on_log: Callable[[str], None] = lambda line: None
        self.on_progress: Callable[[Progress], None] = lambda progress: None
        self._messages: queue.Queue[ToTask | MessageError | None] = queue.Queue()
        self.noise: tuple[str, ...] = ()
        self.failed = False
        self._last_beat = time.monotonic()
        self._running = running or start(environment, threads.environment if threads else {})
        self._process = self._running.process
        self._sender = LimitedSender(self._running.commands)
        self._is_handed_over = False
        self._threads: list[threading.Thread] = []
        try:
            for read in (self._read_log, self._read_messages):
                thread = threading.Thread(target=read, daemon=True)
                thread.start()
                self._threads.append(thread)
        except RuntimeError as error:  # too many threads: a limit as that of processes
            self.kill()
            raise OSError(errno.EAGAIN, str(error)) from error

        not_in_forks(self)

    def forked(self) -> None:
        """Let go of the pipes, in a fork of this process."""
        running = self._running
        streams = (running.commands, running.results, running.log)
        let_go(stream.fileno() for stream in streams if not stream.closed)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def send(self, message: ToChild, *, heartbeat: float) -> None:
        """Send a message; the next `wait` notices a dead child, not this call.

        Parameters
        ----------
        message : ToChild
        heartbeat : float
            Seconds after which a child that takes nothing from its full pipe counts as frozen.

        Raises
        ------
        WorkerFrozenError
        """
        try:
            self._sender.send(message, heartbeat)
        except TimeoutError:
            self.kill()
            raise self._frozen("read nothing of what it was sent", heartbeat, heartbeat) from None
        except OSError:
            self._process.poll()

    def wait(self, kind: type[M], *others: type[N], heartbeat: float) -> M | N:
        """Return the next message of one of these kinds.

        Parameters
        ----------
        heartbeat : float
            Seconds without any message after which the child counts as frozen.

        Raises
        ------
        WorkerDiedError, WorkerFrozenError
        MessageError
            If the child, or a process it started, wrote bytes that are not a message.
        """
        self._last_beat = max(self._last_beat, time.monotonic() - heartbeat / 2)
        while True:
            try:
                message = self._messages.get(timeout=min(1.0, heartbeat / 4))
            except queue.Empty:
                silence = time.monotonic() - self._last_beat
                if silence > heartbeat:
                    self.kill()
                    raise self._frozen("gave no sign of life", silence, heartbeat) from None
                continue
            if message is None:
                raise WorkerDiedError(self._describe_death())
            if isinstance(message, MessageError):
                raise message
            if isinstance(message, (kind, *others)):
                return cast("M | N", message)

    def renew(self) -> None:
        """Forget the last job's leftovers, but not that the process has ended meanwhile."""
        self.log.clear()
        self._log_ended.clear()
        self.failed = False
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._messages.get_nowait()
                if message is None or isinstance(message, MessageError):
                    self._messages.put(message)  # the last one that there can be
                    self.failed = True
                    break

    def last_words(self) -> tuple[str, ...]:
        """Return the last lines of a job that has ended, once they have all arrived."""
        self._log_ended.wait(_LOG_SECONDS)
        return tuple(self.log)

    def stop(self) -> None:
        """Let the child end by itself; kill it if it does not."""
        self._sender.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._join()
        temporary.remove_directory(self._running.temporary)

    def hand_over(self, limit: float = _HAND_OVER_SECONDS) -> Handed | None:
        """Let another task have an idle child; None, and killed, if it says no more within a limit.

        Parameters
        ----------
        limit : float
            Seconds.
        """
        running = self._running
        until = time.monotonic() + limit
        pipes: list[int] = []
        is_whole = False
        try:
            for stream in (running.commands, running.results, running.log):
                pipes.append(os.dup(stream.fileno()))
            self.send(HandOver(), heartbeat=limit)
            for thread in self._threads:
                thread.join(max(0.0, until - time.monotonic()))
            if self._is_handed_over and not any(thread.is_alive() for thread in self._threads):
                pipes += end_told_by(self._process, running.temporary)
                is_whole = True
        # It has ended, or is stopped; or there are no more files, or threads.
        except (OSError, ValueError, WorkerFrozenError, RuntimeError):
            is_whole = False
        if not is_whole:
            for pipe in pipes:
                os.close(pipe)
            self.kill()
            return None
        self._sender.close()
        return Handed(
            process=self.pid,
            threads=self.threads,
            temporary=running.temporary,
            pipes=tuple(pipes),
        )

    def kill(self) -> None:
        """Kill the child at once, and everything it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.poll()
        # One that hangs in the kernel (a dead network disk) ends when it can; nobody waits for it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._sender.close()
        self._join()
        temporary.remove_directory(self._running.temporary)

    def _frozen(self, symptom: str, silence: float, limit: float) -> WorkerFrozenError:
        return WorkerFrozenError(
            f"the worker's process {self.pid} {symptom} for {silence:.0f} s "
            f"(limit {limit:.0f} s, spark.orca.heartbeat.timeout): stopped, "
            "swapping, or stuck in a call that never lets other threads run"
        )

    def _join(self) -> None:
        # Each thread ends with its pipe. A process that the child left behind may hold one open.
        for thread in self._threads:
            thread.join(1.0)

    def _read_messages(self) -> None:
        end: MessageError | None = None
        try:
            with self._running.results as results:
                # no limit: a thread of its own; `wait` counts the seconds of silence
                while (message := receive(results, TO_TASK)) is not None:
                    self._last_beat = time.monotonic()
                    if isinstance(message, HandedOver):
                        self._is_handed_over = True
                        break
                    if isinstance(message, Progress):
                        self.on_progress(message)
                    elif not isinstance(message, Beat):
                        self.failed = self.failed or isinstance(message, Failure)
                        self._messages.put(message)
        except MessageError as error:  # the start of the next message is no longer known
            end = error
        finally:  # whatever ends this thread, the task must not wait for more
            self.failed = True
            self._messages.put(end)
            if not self._is_handed_over:
                # An idle one was killed, and Spark may end this process before it looks.
                temporary.remove_directory(self._running.temporary)

    def _read_log(self) -> None:
        with self._running.log as stream:
            for raw in stream:  # no limit: a thread of its own, which ends with the child
                line = raw.decode(errors="replace").rstrip()
                if line.endswith(END_OF_HOLD):
                    return
                if line.endswith(END_OF_LOG):  # the text before it lacked an end of line
                    self._log_ended.set()
                    line = line.removesuffix(END_OF_LOG)
                    if not line:
                        continue
                if any(word in line for word in self.noise):
                    continue
                self.log.append(line)
                self.on_log(line)

    def _describe_death(self) -> str:
        """Say how the process ended, whose pipe has ended; one that lives all the same is killed.

        The pipe ends with its process, but user code may have closed it.
        """
        try:
            code = self._process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = LOST_PIPE
        self._sender.close()
        self._join()  # its last messages may still be in the pipe
        if code == LOST_PIPE:
            return (
                f"the worker's process {self.pid} lost its channel to Spark's task, but not its "
                "life, and was killed: code of the job has closed file descriptors that are not "
                "its own\n"
                "Close files and sockets by their own close(), not by number (os.close, "
                "os.closerange)"
            )
        if code == UNKNOWN:
            return (
                f"the worker's process {self.pid} has ended, and so has the process that started "
                f"it and alone could tell how: most often memory ran out\n{MORE_MEMORY}"
            )
        if code >= 0:
            return f"the worker's process ended by itself with exit code {code}"
        name = signal.Signals(-code).name
        hint = ""
        if name == "SIGKILL":
            hint = (
                ": killed from outside; most often the machine or container ran out of memory\n"
                f"{MORE_MEMORY}"
            )
        return f"the worker's process was ended by {name}{hint}"
