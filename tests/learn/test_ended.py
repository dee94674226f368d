"""A session that was stopped, or whose JVM is gone: one error, and the way out that it names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, sys, threading, time
from pathlib import Path
from tests.fake_estimator import FakeEstimator, linear
from zoo.orca import OrcaContext, init_orca_context, stop_orca_context
from zoo.orca.errors import ContextError

sign, state = Path(sys.argv[1], "sign"), str(Path(sys.argv[1], "state"))

def rows():
    session = OrcaContext.get_spark_session()
    return session.range(100).selectExpr("cast(id as float) / 100 x", "cast(id as float) y")

def start():
    init_orca_context(cores=2, conf={"spark.ui.enabled": "false"})

def error_of(call):
    try:
        call()
    except ContextError as error:
        assert "init_orca_context" in str(error).splitlines()[1], error
        return str(error).splitlines()[0]
    raise AssertionError("no error")

def on_step(rank, step):
    sign.touch()
    time.sleep(0.1)

def fit_until(end):
    def watch():
        while not sign.exists():
            time.sleep(0.05)
        end()
    sign.unlink(missing_ok=True)
    threading.Thread(target=watch, daemon=True).start()
    FakeEstimator.of(linear(on_step=on_step), 2).fit(frame, epochs=100)

def kill():
    os.kill(session.sparkContext._gateway.proc.pid, 9)

start()
frame, session = rows(), OrcaContext.get_spark_session()
estimator = FakeEstimator.of(linear(), 2)
estimator.fit(frame)
print(error_of(lambda: fit_until(session.stop)))
for call in (
    lambda: estimator.fit(frame),
    lambda: estimator.evaluate(frame, batch_size=8),
    lambda: estimator.predict(frame),
    lambda: FakeEstimator.of(linear()).predict(data=frame),
):
    print(error_of(call))
estimator.save(state)
estimator.load(state)
estimator.shutdown()
assert estimator.num_workers == 2
assert FakeEstimator.of(linear(), None).num_workers == 1

start()
frame, session = rows(), OrcaContext.get_spark_session()
estimator.fit(frame)
print(error_of(lambda: fit_until(kill)))
print(error_of(lambda: estimator.fit(frame)))
assert FakeEstimator.of(linear(), None).num_workers == 1
start()
estimator.fit(rows())
unbroken = FakeEstimator.of(linear(), 2)
unbroken.fit(rows(), epochs=3)
assert (estimator.weights == unbroken.weights).all()
kill()
stop_orca_context()
"""

STOPPED = "the DataFrame's Spark session was stopped"
LOST = "the connection to Spark's JVM was lost: "


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_calls_say_that_the_session_ended_and_another_one_goes_on(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    with (tmp_path / "log").open("w+") as log:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            timeout=240,
            env={**os.environ, "PYTHONPATH": paths},
        )
        log.seek(0)
        assert ended.returncode == 0, log.read()
    lines = ended.stdout.splitlines()
    told = [line for line in lines if line.startswith(("the DataFrame's", "the Spark", "the conn"))]
    assert told[:5] == ["the Spark session was stopped while the job ran", *[STOPPED] * 4]
    assert [line.startswith(LOST) for line in told[5:]] == [True] * 2
