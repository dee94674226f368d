"""The task's side of its child process: start, reuse, stop, log, heartbeat and death.

A child outlives its task and serves the next one of the same Spark Python worker, because importing
a framework takes seconds. Spark reuses Python workers, so a module's variable keeps the one warm
child for the next task. The child dies with this process, because its standard input closes.
"""

import atexit
import contextlib
import fcntl
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO, TypeVar, cast

import zoo.orca
from zoo.orca.errors import WorkerDiedError, WorkerFrozenError
from zoo.orca.wire.messages.codec import MessageError
from zoo.orca.wire.messages.pipe import TO_TASK, Beat, ToChild, ToTask
from zoo.orca.wire.messages.progress import Progress
from zoo.orca.wire.messages.results import Failure
from zoo.orca.wire.paths import LAST_PATHS, search_paths
from zoo.orca.worker import temporary
from zoo.orca.worker.pipes import END_OF_LOG, LOST_PIPE, PIPE_BYTES, LimitedSender, receive
from zoo.orca.worker.plain_words import MORE_MEMORY
from zoo.orca.worker.task.threads import Threads

_LOG_LINES = 40
_STOP_SECONDS = 5.0
#: Seconds from the end of a child's pipe to the end of the child, which closed it as it died.
_DEATH_SECONDS = 3.0
#: Seconds to wait: a user's process that a job started may hold the child's output open.
_LOG_SECONDS = 1.0
#: Makes glibc's malloc keep the memory that a training step frees. By default it may return and
#: refetch the same few hundred kilobytes in every step. For the quick start's model this is a
#: thousand page faults a step, a third of its time. Other C libraries ignore these variables.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
#: How often a thread of GNU's OpenMP looks for the others before it sleeps: half a millisecond. By
#: default it is 300,000 times. Where two jobs share processors, the one that looks keeps the other
#: from its work, and a step takes a hundred times as long; alone, it makes no difference.
_LOOKS = {"GOMP_SPINCOUNT": "10000"}

_warm: "Child | None" = None
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

    Attributes
    ----------
    threads : int
        How many threads it was started with; 0: nothing was said.
    """

    def __init__(self, environment: dict[str, str], threads: Threads | None = None) -> None:
        self.environment = environment
        self.threads = threads.count if threads else 0
        self._thread_environment = threads.environment if threads else {}
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._log_ended = threading.Event()
        self.on_log: Callable[[str], None] = lambda line: None
        self.on_progress: Callable[[Progress], None] = lambda progress: None
        self._messages: queue.Queue[ToTask | MessageError | None] = queue.Queue()
        self.noise: tuple[str, ...] = ()
        self.failed = False
        self._last_beat = time.monotonic()
        self._temporary = temporary.make_directory()
        self._process, read_end = self._started()
        commands = cast("BinaryIO", self._process.stdin)
        _widen(commands.fileno())
        _widen(read_end)
        self._sender = LimitedSender(commands)
        self._results = os.fdopen(read_end, "rb")
        self._threads = [
            threading.Thread(target=read, daemon=True)
            for read in (self._read_log, self._read_messages)
        ]
        for thread in self._threads:
            thread.start()

    def _started(self) -> tuple["subprocess.Popen[bytes]", int]:
        """Start the process; return it, and the end of the pipe that brings its messages."""
        read_end, write_end = os.pipe()
        try:
            process = subprocess.Popen(
                # Without -P the current directory would come first, and a user's random.py would
                # hide Python's.
                [sys.executable, "-P", "-m", "zoo.orca.worker.child", str(write_end)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end,),
                env=_environment(self.environment)
                | self._thread_environment
                | temporary.environment(self._temporary),
                # Ctrl-C on the driver's terminal must reach only the driver.
                start_new_session=True,
            )
        except OSError:
            os.close(read_end)
            temporary.remove_directory(self._temporary)
            raise
        finally:
            os.close(write_end)
        return process, read_end

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
        """Forget the last job's leftovers."""
        self.log.clear()
        self._log_ended.clear()
        self.failed = False
        with contextlib.suppress(queue.Empty):
            while True:
                self._messages.get_nowait()

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
        temporary.remove_directory(self._temporary)

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
        temporary.remove_directory(self._temporary)

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
            with self._results:
                # no limit: a thread of its own; `wait` counts the seconds of silence
                while (message := receive(self._results, TO_TASK)) is not None:
                    self._last_beat = time.monotonic()
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

    def _read_log(self) -> None:
        with cast("IO[bytes]", self._process.stdout) as stream:
            for raw in stream:  # no limit: a thread of its own, which ends with the child
                line = raw.decode(errors="replace").rstrip()
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


def acquire(environment: dict[str, str], threads: Threads | None = None) -> Child:
    """Return the warm child if it has the same environment and allowed threads, else a new one."""
    global _warm
    child, _warm = _warm, None
    if child is not None and child.alive and child.environment == environment:
        if threads is None or threads.allow(child.threads):
            child.renew()
            return child
    if child is not None:
        child.stop()
    return Child(environment, threads)


def release(child: Child) -> None:
    """Keep `child` warm for the next task of this Python worker."""
    global _warm
    child.on_log = lambda line: None
    child.on_progress = lambda progress: None
    if _warm is not None:
        _warm.stop()
    _warm = child


@atexit.register
def _stop_warm() -> None:
    global _warm
    child, _warm = _warm, None
    if child is not None:
        child.stop()


def _widen(pipe: int) -> None:
    command = getattr(fcntl, "F_SETPIPE_SZ", None)
    if command is not None:
        with contextlib.suppress(OSError):  # a user's pipes may only hold a limited number of bytes
            fcntl.fcntl(pipe, command, PIPE_BYTES)


def _environment(extra: dict[str, str]) -> dict[str, str]:
    # This package may have come with the job (a zip on sys.path), and so may the user's own
    # modules. So the child searches where this process searches, this package first. Paths are made
    # absolute, because on executors they may be relative to this process's start directory.
    root = str(Path(zoo.orca.__file__).absolute().parents[2])
    told = extra.get(LAST_PATHS, "").split(os.pathsep)
    # The first one is the program's directory, which a user's PYTHONPATH may name as well.
    first, last = search_paths(sys.path, root, {os.getcwd(), told[0]})
    return {
        **_KEEP_MEMORY,
        **({} if "OMP_WAIT_POLICY" in os.environ else _LOOKS),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(first),
        "PYTHONUNBUFFERED": "1",
        # The context refuses to start a session in the child (zoo.orca.context.places).
        "ZOO_ORCA_WORKER": "1",
        **extra,
        LAST_PATHS: os.pathsep.join([*filter(None, told), *last]),
    }
