"""Somebody listens on the network: where a job is encrypted, nothing that it says is found there.

Two workers and a driver are each in a network namespace of their own, and all that passes the
switch between them is kept. The same job in clear shows that what is looked for would be found.
"""

import base64
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults.table import came_out
from tests.faults.test_network import HOSTS, SOURCES, Network, network  # noqa: F401
from tests.worker.group import train_job
from zoo.orca.driver.session.certificate import self_signed
from zoo.orca.frameworks.fake import LinearModel
from zoo.orca.wire.packing import State

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]

ROOT = Path(__file__).parents[2]
ROWS, BATCH, X = 40, 10, np.float32(0.7548776)
SECRET = b"nobody may guess this, or see it"

DRIVER = """
import sys
from zoo.orca.driver.reports import listener

class Display:
    def show(self, progress, rank=0):
        pass
    def close(self):
        pass

host, identity = sys.argv[1], sys.stdin.readline().strip().replace(";", chr(10))
listener._reachable_host = lambda spark: host
with listener.ReportListener(None, Display(), identity) as server:
    to = server.report_to
    print(to.port, to.secret.hex(), flush=True)
    sys.stdin.readline()
"""

WORKER = """
import base64, json, pickle, sys, tempfile, threading
import pyarrow as pa
from tests.worker.group import HEARTBEAT
from zoo.orca.wire.messages.pipe import Connect, Listening, RunJob, Start
from zoo.orca.wire.messages.results import Failure, Outcome
from zoo.orca.wire.report import ReportTo
from zoo.orca.worker.rows.spool import Spool
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.reporting import Reporter

rank, host = int(sys.argv[1]), sys.argv[2]
told = json.loads(sys.stdin.readline())
to = ReportTo(host=told["driver"], port=told["port"], secret=bytes.fromhex(told["secret"]),
              identity=told["identity"])
reporter = Reporter(to, rank)
reporter.log("worker %d says: the password is 4711" % rank)
child, directory = Child({}), tempfile.mkdtemp()
pickled = base64.b64decode(told["job"])
child.send(RunJob(directory=directory, host=host, rank=rank, size=2, cpus=(), threads=1,
                  job=pickled), heartbeat=HEARTBEAT)
there, answers = threading.Event(), []

def answered(answer):
    answers.append(answer)
    there.set()

address = child.wait(Listening, Failure, heartbeat=HEARTBEAT).address
reporter.meet(rank, 2, address, answered)
assert there.wait(30) and answers[0] is not None, answers
child.send(Connect(addresses=answers[0].addresses, secret=told["ours"].encode(), timeout=20.0,
                   identity=told["identity"]), heartbeat=HEARTBEAT)
spool = Spool(directory, pickle.loads(pickled).columns, False)
x = pa.array([told["x"]] * told["rows"], pa.float32())
y = pa.array([3 * told["x"]] * told["rows"], pa.float32())
spool.add(pa.RecordBatch.from_arrays([x, y], ["c0", "c1"]))
child.send(Start(spooled=spool.finish(), moved=0.0), heartbeat=HEARTBEAT)
outcome = child.wait(Outcome, Failure, heartbeat=HEARTBEAT)
reporter.close()
print(json.dumps([getattr(outcome, "message", ""), outcome.to_text(),
                  base64.b64encode(getattr(outcome, "state", b"")).decode()]), flush=True)
child.stop()
"""

LISTENER = """
import socket, sys
ETH_P_ALL = 3
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as every:
    every.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
    every.settimeout(0.2)
    print("listening", flush=True)
    with open(sys.argv[1], "wb") as kept:
        while not sys.stdin.closed:
            try:
                kept.write(every.recv(1 << 17))
            except TimeoutError:
                kept.flush()
"""


def creator(config: dict[str, Any]) -> LinearModel:
    return LinearModel(features=1, rate=0.01)


def first_gradient() -> bytes:
    """What each worker sends first: its half of a batch, with weights that are still zero."""
    inputs = np.full((BATCH // 2, 1), X, np.float64)
    errors = inputs @ np.zeros(1) - np.full(BATCH // 2, 3 * float(X), np.float32)
    return (2 * errors @ inputs).tobytes()


class Program:
    """A program in a namespace, with lines to and from it."""

    def __init__(self, space: str, text: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", space, sys.executable, "-c", text, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCES), str(ROOT)])},
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def overheard(hosts: Network, kept: Path, identity: str) -> tuple[list[State], bytes]:
    """Train on two hosts, reporting to a third; return each rank's state, and what was heard."""
    programs = [Program(hosts.switch, LISTENER, str(kept))]
    try:
        assert programs[0].hear() == "listening"
        driver = Program(hosts.spaces[2], DRIVER, HOSTS[2])
        programs.append(driver)
        driver.say(identity.replace("\n", ";"))
        port, secret = driver.hear().split()
        job = pickle.dumps(train_job(creator, batch_size=BATCH, epochs=3))
        told = {"driver": HOSTS[2], "port": int(port), "secret": secret, "ours": SECRET.decode()}
        told |= {"identity": identity, "x": float(X), "rows": ROWS // 2}
        told["job"] = base64.b64encode(job).decode()
        ranks = [Program(hosts.spaces[r], WORKER, str(r), HOSTS[r]) for r in range(2)]
        programs += ranks
        for rank in ranks:
            rank.say(json.dumps(told))
        answers = [json.loads(rank.hear()) for rank in ranks]
    finally:
        for program in reversed(programs):
            program.end()
    assert [answer[0] for answer in answers] == ["", ""], answers
    states = [base64.b64decode(answer[2]) for answer in answers]
    return [State.from_bytes(state) for state in states if state], kept.read_bytes()


@pytest.mark.fault("somebody listens on the network, with spark.orca.encryption=true")
def test_who_listens_hears_nothing_of_an_encrypted_job(
    network: Network,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = [first_gradient(), b"the password is 4711", b"orca-hs", b'"ring"', HOSTS[1].encode()]
    in_clear, clear = overheard(network, tmp_path / "clear", "")
    assert [word for word in words if word not in clear] == []
    identity = self_signed()
    encrypted, cipher = overheard(network, tmp_path / "cipher", identity)
    assert [word for word in words if word in cipher] == []
    # It was the same job, and was heard: each record of TLS with data begins so.
    assert cipher.count(b"\x17\x03\x03") > 20 > clear.count(b"\x17\x03\x03")
    key = "".join(identity.partition("PRIVATE KEY-----\n")[2].splitlines()[:2])
    assert base64.b64decode(key)[-40:] not in cipher and SECRET not in clear + cipher
    assert len(in_clear) == len(encrypted) == 1
    trained = [state.tensors["weights/w"] for state in (*in_clear, *encrypted)]
    assert trained[0].tobytes() == trained[1].tobytes() and trained[0].any()
    assert in_clear[0].meta == encrypted[0].meta
    came_out("hears no word of the job, which equals the one in clear")
