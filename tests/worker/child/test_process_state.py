"""A job finds the process as a fresh one, whatever the job before it has changed."""

import json
from pathlib import Path

import pytest

from tests.worker.group import Group, train_job
from zoo.orca.wire.messages.results import Outcome

pytestmark = pytest.mark.timeout(60)

ROWS = [[0.0, 0.5, 1.0, 0.25] * 5]


def seen(path: str) -> None:
    """Write down what the process is like."""
    import decimal
    import gc
    import json
    import locale
    import logging
    import multiprocessing
    import os
    import random
    import signal
    import socket
    import sys
    import tempfile
    import threading
    import time
    import warnings

    import numpy as np

    umask = os.umask(0)
    os.umask(umask)
    known = logging.root.manager.loggerDict
    levels = {n: one.level for n, one in known.items() if isinstance(one, logging.Logger)}
    found = {
        "environment": dict(os.environ),
        "zone": time.tzname,
        "directory": os.getcwd(),
        "path": sys.path,
        "finders": [repr(type(one)) for one in sys.meta_path],
        "arguments": [sys.argv[0], len(sys.argv)],
        "streams": [stream.name for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "hooks": [repr(sys.excepthook), threading.excepthook is threading.__excepthook__],
        "recursion": sys.getrecursionlimit(),
        "switch": sys.getswitchinterval(),
        "gc": [gc.isenabled(), gc.get_threshold()],
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": umask,
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "handlers": {int(n): repr(signal.getsignal(n)) for n in signal.valid_signals()},
        "logging": [
            levels.get("zoo.orca.worker.collective.segment", 0),
            logging.root.level,
            logging.root.manager.disable,
        ],
        "loggers": len(logging.root.handlers),
        "decimal": decimal.getcontext().prec,
        "numpy": [np.geterr(), np.get_printoptions()["precision"]],
        "sockets": socket.getdefaulttimeout(),
        "start": multiprocessing.get_start_method(allow_none=True),
        "temporary": tempfile.gettempdir(),
        "tracing": [repr(sys.gettrace()), repr(sys.getprofile())],
        "filters": [repr(one) for one in warnings.filters],
        "shows": warnings.showwarning.__module__,
    }
    # What differs between two processes whatever anybody does.
    for name in ("TMPDIR", "ZOO_ORCA_TEMPORARY"):
        found["environment"].pop(name)
    found["temporary"] = tempfile.gettempdir() == os.environ["TMPDIR"]
    with open(path, "w") as file:
        json.dump(found, file)
    with open(f"{path}.random", "w") as file:
        json.dump([random.random(), float(np.random.rand())], file)


def change(directory: str) -> None:
    """Change all of it."""
    import decimal
    import gc
    import io
    import locale
    import logging
    import multiprocessing
    import os
    import random
    import signal
    import socket
    import sys
    import tempfile
    import threading
    import warnings

    import numpy as np

    os.environ["NEW"] = "1"
    os.environ["TZ"] = "Asia/Tokyo"
    os.environ.pop("PATH")
    os.chdir(directory)
    sys.path.insert(0, directory)
    sys.meta_path.pop(0)
    sys.argv.append("--changed")
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    sys.excepthook = threading.excepthook = lambda *given: None
    sys.setrecursionlimit(5000)
    sys.setswitchinterval(0.1)
    gc.disable()
    gc.set_threshold(1, 1, 1)
    locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C")
    os.umask(0o177)
    signal.signal(signal.SIGUSR1, lambda *given: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 1000)
    logging.getLogger("zoo.orca.worker.collective.segment").setLevel(logging.DEBUG)
    logging.basicConfig(level=logging.DEBUG)
    logging.disable(logging.CRITICAL)
    decimal.setcontext(decimal.Context(prec=3))
    np.seterr(all="raise")
    np.set_printoptions(precision=1)
    socket.setdefaulttimeout(0.5)
    multiprocessing.set_start_method("spawn", force=True)
    tempfile.tempdir = directory
    sys.setprofile(lambda *given: None)
    warnings.simplefilter("error")
    warnings.showwarning = print
    random.seed(1)
    np.random.seed(1)


def looking(path, changed):
    """A creator that writes down what it sees, and then changes it."""

    def creator(config):
        from zoo.orca.frameworks.fake import LinearModel

        seen(path)
        if changed:
            change(changed)
        return LinearModel(features=1)

    return creator


def test_a_job_finds_a_fresh_process(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found, drawn = [], []
    groups = Group(1), Group(1)
    jobs = [(groups[0], str(elsewhere)), (groups[0], ""), (groups[1], "")]
    try:
        for number, (group, changed) in enumerate(jobs):
            path = str(tmp_path / f"seen{number}")
            job = train_job(looking(path, changed))
            done = group.run(job, ROWS, tmp_path / str(number))
            assert [type(message) for message in done] == [Outcome], done
            found.append(json.loads(Path(path).read_text()))
            drawn.append(json.loads(Path(f"{path}.random").read_text()))
    finally:
        for group in groups:
            group.close()
    changing, warm, fresh = found
    for name, value in fresh.items():
        assert warm[name] == value, name
        assert changing[name] == value, name
    assert drawn[0] != drawn[1] != drawn[2]


def test_what_a_job_has_changed_does_not_stop_it_or_the_next(tmp_path: Path) -> None:
    """Its directory is gone, its streams are closed, its log is nobody's."""

    def creator(config):
        import os
        import shutil
        import sys
        import tempfile

        from zoo.orca.frameworks.fake import LinearModel

        os.chdir(tempfile.mkdtemp())
        shutil.rmtree(os.getcwd())
        sys.stdout = None
        del sys.stderr
        return LinearModel(features=1)

    group = Group(1)
    try:
        for number in range(2):
            done = group.run(train_job(creator), ROWS, tmp_path / str(number))
            assert [type(message) for message in done] == [Outcome], done
    finally:
        group.close()
