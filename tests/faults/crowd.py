"""A crowd of strangers at a port, and a process that has few file descriptors left."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAM = """
import resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
crowd = []
for number in range(count):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex((host, port))
    crowd.append(one)
print("there", flush=True)
sys.stdin.read()
"""


@contextmanager
def crowd(host: str, port: int, count: int) -> Iterator[None]:
    """Connections of another process, which say nothing, until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, host, str(port), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        yield
    finally:
        process.kill()
        process.communicate()


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this process open `count` more files, until the end of the block."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    limit = free = 0
    while free < count:
        free += limit not in used
        limit += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def is_full(count: int) -> bool:
    """Whether this process cannot open `count` sockets at the same time."""
    found = []
    try:
        for _ in range(count):
            found.append(socket.socket())
    except OSError:
        return True
    finally:
        for one in found:
            one.close()
    return False
