"""Nothing waits without a limit, or the line says why it may.

Such a wait is a hang that no test has met yet: a process that never ends, a peer that says nothing.
A comment `no limit: ` and the reason, on the wait's line or the one above it, is the only way out.

Sections under a lock (`with lock:`) have no limit of their own. What is waited for inside them has.
"""

import ast
import textwrap
from collections.abc import Iterator

import pytest

from tests.source_tree import modules

ROOMS = ("zoo.orca.worker.", "zoo.orca.driver.", "zoo.orca.frameworks.")
REASON = "# no limit: "
#: The methods that wait until something happens, unless they are given a number of seconds, and
#: the position of that argument: of processes, threads, events, conditions, queues, futures, locks,
#: selectors and polls.
LIMIT_AT = {
    "wait": 0,
    "join": 0,
    "get": 1,
    "result": 0,
    "acquire": 1,
    "select": 0,
    "poll": 0,
    "communicate": 1,
    "wait_for": 1,
}
#: Functions of modules that wait likewise.
FUNCTIONS = {"subprocess.run", "subprocess.check_output", "subprocess.check_call"}
FUNCTIONS |= {"socket.create_connection", "select.select", "os.waitpid", "fcntl.flock"}
LIMIT_OF_FUNCTION_AT = {"socket.create_connection": 1, "select.select": 3}
#: What reads from a pipe or a stream, or writes to it, for as long as it takes.
STREAMS = {"receive", "self._stream.write", "self._stream.read", "stream.readline"}
#: What sockets and pipes do within the limit that they were given, and without one for ever.
OF_SOCKETS = {"accept", "recv", "recv_into", "sendall", "makefile"}
OF_PIPES = {"os.read", "os.write"}
#: A module that says one of these gives them a limit, or has those that never wait.
SETS_A_LIMIT = (
    *(".setblocking(False)", ".settimeout(", ".set_blocking(", "os.O_NONBLOCK"),
    "zoo.orca.worker.collective.sockets import",
)
#: Calls that only look like a wait.
NO_WAITS = {
    "select.poll": "makes a poll",
    "means.result": "an average so far",
    "_listeners.get": "a variable of the thread's own",
}


def is_limited(call: ast.Call, position: int) -> bool:
    """Whether a call is given its limit, which is not None."""
    given = [one.value for one in call.keywords if one.arg in ("timeout", "blocking")]
    given += call.args[position : position + 1]
    return any(ast.unparse(one) not in ("None", "True") for one in given)


def is_no_wait(call: ast.Call, owner: str, method: str) -> bool:
    """Whether a call is no wait, though its name is that of one."""
    if method == "poll":  # asks a process
        return owner.endswith("process")
    if method == "get":  # of Spark, or of a dict
        return owner.endswith("TaskContext") or bool(call.args and not is_true(call.args[0]))
    return method == "acquire" and bool(call.args and not is_true(call.args[0]))


def is_true(value: ast.expr) -> bool:
    """Whether an argument is a literal True."""
    return isinstance(value, ast.Constant) and value.value is True


def waits(call: ast.Call) -> bool:
    """Whether a call waits, for as long as it takes."""
    name = ast.unparse(call.func)
    if name in STREAMS or name.endswith((".settimeout", ".setblocking")):
        return name in STREAMS or ast.unparse(call.args[0]) in ("None", "True")
    if name in FUNCTIONS:
        return not is_limited(call, LIMIT_OF_FUNCTION_AT.get(name, len(call.args)))
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in LIMIT_AT:
        return False
    if name in NO_WAITS or is_no_wait(call, ast.unparse(call.func.value), call.func.attr):
        return False
    return not is_limited(call, LIMIT_AT[call.func.attr])


def without_limit(text: str) -> Iterator[str]:
    """Tell the waits of a source text that have neither a limit nor a reason."""
    lines = ["", *text.splitlines()]
    sets_a_limit = any(one in text for one in SETS_A_LIMIT)
    for node in ast.walk(ast.parse(text)):
        found = False
        if isinstance(node, ast.Call):
            of_a_socket = isinstance(node.func, ast.Attribute) and node.func.attr in OF_SOCKETS
            of_a_pipe = ast.unparse(node.func) in OF_PIPES
            found = waits(node) or ((of_a_socket or of_a_pipe) and not sets_a_limit)
        elif isinstance(node, ast.For):
            found = ast.unparse(node.iter).endswith("stream")
        if found and not any(REASON in lines[at] for at in (node.lineno - 1, node.lineno)):
            yield f"{node.lineno}: {lines[node.lineno].strip()}"


@pytest.mark.parametrize(
    "module", [one for one in modules() if one.name.startswith(ROOMS)], ids=lambda one: one.name
)
def test_every_wait_has_a_limit_or_a_reason(module):
    assert not list(without_limit(module.path.read_text()))


@pytest.mark.parametrize(
    "line",
    [
        "process.wait()",
        "thread.join()",
        "thread.join(None)",
        "thread.join(timeout=None)",
        "queue.get()",
        "queue.get(True)",
        "future.result()",
        "lock.acquire()",
        "lock.acquire(True)",
        "selector.select()",
        "poller.poll()",
        "process.communicate(text)",
        "subprocess.run(command)",
        "socket.create_connection(address)",
        "select.select([one], [], [])",
        "connection.settimeout(None)",
        "connection.setblocking(True)",
        "connection, _ = listener.accept()",
        "data = connection.recv(10)",
        "data = os.read(pipe, 10)",
        "message = receive(stream, TO_TASK)",
        "for line in stream:\n    print(line)",
    ],
)
def test_a_wait_without_a_limit_is_found(line):
    assert list(without_limit(line))
    assert not list(without_limit(f"{REASON}it ends with its thread\n{line}"))


def test_what_has_a_limit_or_does_not_wait_is_let_alone():
    text = """
        process.wait(5)
        thread.join(timeout=left)
        queue.get(timeout=1)
        lock.acquire(blocking=False)
        lock.acquire(timeout=3)
        lock.acquire(True, 3)
        selector.select(left)
        process.poll()
        known.get("name")
        ", ".join(names)
        BarrierTaskContext.get()
        subprocess.run(command, timeout=5)
        socket.create_connection(address, 5)
        connection.settimeout(5)
        listener.accept()
    """
    assert not list(without_limit(textwrap.dedent(text)))
