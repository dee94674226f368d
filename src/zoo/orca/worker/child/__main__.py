"""The child: ``python -m zoo.orca.worker.child FD`` where FD is the pipe for messages to the task.

Standard input brings commands. When it closes, the task is gone and the child ends. Standard output
and error are the log. The child has no pyspark and no JVM.
"""

import errno
import os
import sys
import threading
import traceback

from zoo.orca.wire.messages.pipe import TO_CHILD, Beat, HandOver, Prepare, RunJob
from zoo.orca.wire.paths import add_last_paths
from zoo.orca.worker.child.mailbox import Mailbox
from zoo.orca.worker.child.runner import Runner
from zoo.orca.worker.pipes import LOST_PIPE, Sender, receive
from zoo.orca.worker.temporary import OWN_DIRECTORY, remove_directory

_BEAT_SECONDS = 1.0
_CLEAN_UP_SECONDS = 30.0


def main() -> None:
    """Serve jobs until standard input closes."""
    add_last_paths()
    sender = Sender(os.fdopen(int(sys.argv[1]), "wb"))
    mailbox = Mailbox()
    own = os.environ.get(OWN_DIRECTORY, "")
    runner = Runner(sender, own)
    commands_in = os.fdopen(os.dup(0), "rb")
    # User code that reads standard input must get nothing, not our commands.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    reader = threading.Thread(target=_read, args=(commands_in, mailbox, own), daemon=True)
    reader.start()
    threading.Thread(target=_beat, args=(sender, runner), daemon=True).start()
    try:
        while True:
            message, letters = mailbox.next_job()
            sender.resume()
            if isinstance(message, HandOver):
                runner.hand_over()
            elif isinstance(message, Prepare):
                runner.prepare(message)
            else:
                runner.serve(message, letters)
    except BrokenPipeError:
        # The task is gone. The reader thread notices this too, and ends the process after cleaning
        # up.
        reader.join(_CLEAN_UP_SECONDS)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        # User code has closed the pipe. Threads that it, or the framework, left running must not
        # keep alive a process that the task no longer hears.
        remove_directory(own)
        os._exit(LOST_PIPE)


def _read(stream, mailbox: Mailbox, own: str) -> None:  # type: ignore[no-untyped-def]
    spooled = ""
    code = 1  # for no message, or a fault of ours: nobody would read the task's next message
    try:
        # no limit: a task that is silent has nothing to say yet, and its end closes the pipe
        while (message := receive(stream, TO_CHILD)) is not None:
            if isinstance(message, RunJob):
                spooled = message.directory
            mailbox.put(message)
        code = 0
    except OSError:  # user code has closed the pipe: the task's end would go unnoticed
        code = LOST_PIPE
    except BaseException:
        traceback.print_exc()  # the log: the task reports its last lines
        raise
    finally:
        # The task was killed before it could clean up. So this thread removes the rows that the
        # task spooled, even if the main thread has not started that job, and this process's
        # temporary files. The main thread may be deep inside the framework, so there is no orderly
        # way out.
        remove_directory(spooled)
        remove_directory(own)
        os._exit(code)


def _beat(sender: Sender, runner: Runner) -> None:
    ticks = threading.Event()
    while not ticks.wait(_BEAT_SECONDS):
        try:
            sender.beat(Beat())
        except OSError:
            return
        runner.watch_peers()


if __name__ == "__main__":
    main()
