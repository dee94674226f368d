"""Sessions on a Spark Connect server: asked for, adopted, ended; from a process without Java."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.connect.server import environment
from zoo.orca import init_orca_context
from zoo.orca.context.clusters import plan_launch
from zoo.orca.context.request import SessionRequest
from zoo.orca.errors import InvalidInputError


def plan(**options: Any) -> Any:
    sizes = {
        name: options.pop(name) for name in ("cores", "memory", "num_nodes") if name in options
    }
    environment = options.pop("environment", None)
    return plan_launch(
        SessionRequest(
            cluster_mode="connect", options=options, remote_from_environment=environment, **sizes
        )
    )


def test_the_server_has_everything_already() -> None:
    launch = plan(remote="sc://host:15002/;token=secret")
    assert (launch.remote, launch.conf, launch.environment) == (
        "sc://host:15002/;token=secret",
        {},
        {},
    )
    assert plan(environment="sc://there").remote == "sc://there"
    assert plan(environment="sc://there", remote="sc://here").remote == "sc://here"
    (line,) = plan(remote="sc://host", cores=4, num_nodes=2).warnings
    assert line.startswith("cores=, num_nodes= have no effect with cluster_mode='connect'")


def test_a_server_must_be_named() -> None:
    with pytest.raises(InvalidInputError, match="'connect' needs remote=\nIt is the server's URL"):
        plan()
    with pytest.raises(InvalidInputError, match="'local' is not the URL.*\nIt begins with sc://"):
        plan(remote="local")


def test_a_classic_session_is_not_one_of_a_server(spark: Any) -> None:
    with pytest.warns(UserWarning, match="changes nothing about it: it is not on sc://host:15002"):
        init_orca_context("connect", remote="sc://host:15002")


PROGRAM = """
import os, sys, threading, time, warnings
from tests.connect.client import be_a_client
be_a_client()

import numpy as np
from zoo.orca import OrcaContext, init_orca_context, stop_orca_context
from zoo.orca.context import connect, sessions
from zoo.orca.data import XShards
from zoo.orca.errors import ContextError
from zoo.orca.learn.keras import Estimator

url = sys.argv[1]
with_default, connect._ANSWERS_WITHIN = connect._ANSWERS_WITHIN, 0.5
began = time.monotonic()
try:
    init_orca_context("connect", remote="sc://127.0.0.1:9/;token=secret")
except ContextError as error:
    first, way = str(error).splitlines()
    assert first == "no Spark Connect server answers at sc://127.0.0.1:9 within 0.5 s", first
    assert "start-connect-server.sh" in way and "secret" not in str(error)
assert time.monotonic() - began < 20
connect._ANSWERS_WITHIN = with_default

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    conf = {"spark.sql.shuffle.partitions": 3, "spark.sql.warehouse.dir": "/nowhere"}
    spark = init_orca_context("connect", remote=url, conf=conf)
(warning,) = caught
assert "keeps its own spark.sql.warehouse.dir: start the server" in str(warning.message), warning
assert warning.filename == __file__, warning.filename
assert spark.conf.get("spark.sql.shuffle.partitions") == "3"
assert OrcaContext.get_spark_session() is spark and sessions.known_session() is spark
try:
    OrcaContext.get_spark_context()
except ContextError as error:
    assert "has no SparkContext" in str(error)

def model_creator(config):
    import keras

    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model

rows = spark.range(64).selectExpr("id / 64.0D AS x", "id / 32.0D AS y").repartition(3)
columns = {"feature_cols": ["x"], "label_cols": ["y"], "verbose": 0}
found = []
for workers in (1, 2):
    est = Estimator.from_keras(
        model_creator=model_creator, num_workers=workers, keras_backend="jax"
    )
    losses = est.fit(rows, epochs=2, batch_size=16, **columns).history["loss"]
    found.append((losses, est.predict(rows).count()))
assert found[0][1] == found[1][1] == 64
assert all(abs(a - b) < 1e-5 for a, b in zip(found[0][0], found[1][0])), found
est.save("state.safetensors")
other = Estimator.from_keras(model_creator=model_creator, keras_backend="jax")
other.load("state.safetensors")
one, two = (e.evaluate(rows, **columns)["validation_loss"] for e in (other, est))
assert abs(one - two) < 1e-6, (one, two)
shards = XShards.partition(np.array([1, 2, 3]), 2).transform_shard(lambda numbers: numbers + 1)
assert np.concatenate(shards.collect()).tolist() == [2, 3, 4]

sessions._last.session = None
seen = []
thread = threading.Thread(target=lambda: seen.append(init_orca_context()))
thread.start()
thread.join()
assert seen == [spark], seen
stop_orca_context()
stop_orca_context()
assert sessions.known_session() is None

from pyspark.sql import SparkSession
theirs = SparkSession.builder.remote(url).getOrCreate()
with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert init_orca_context("connect", remote=url) is theirs
    assert init_orca_context() is theirs
stop_orca_context()
assert theirs.range(3).count() == 3
theirs.stop()

os.environ["SPARK_REMOTE"] = url
assert init_orca_context("connect").range(5).count() == 5
print("done")
"""


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_program_without_java_trains_on_a_server(connect_server: str, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    ended = subprocess.run(
        [sys.executable, str(file), connect_server],
        capture_output=True,
        text=True,
        timeout=190,
        env=environment(),
        cwd=tmp_path,
    )
    assert ended.stdout == "done\n", ended.stderr
