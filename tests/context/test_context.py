"""The session: created, adopted, stopped. What needs a JVM of its own runs in its own process."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jvms import environment_without
from zoo.orca import OrcaContext, init_orca_context, stop_orca_context
from zoo.orca.context import context as context_module
from zoo.orca.errors import ContextError, InvalidInputError, MissingPackageError

WITHOUT_SPARK = environment_without("PYSPARK_")


def run(program, *, command=(sys.executable,), environment=WITHOUT_SPARK, directory):
    """Run a program in a process of its own, which a hang cannot outlive."""
    file = directory / "program.py"
    file.write_text(program)
    return subprocess.run(
        [*command, str(file)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        cwd=directory,
    )


ALONE = """
import sys
from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

def python_of_worker(batches):
    import os, sys
    import pyarrow as pa
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"python": [sys.executable] * batch.num_rows})

spark = OrcaContext.get_spark_session()
rows = spark.range(4).mapInArrow(python_of_worker, "python string").collect()
assert {row.python for row in rows} == {sys.executable}, rows
assert spark.sparkContext.master == "local[*]"
assert OrcaContext.get_spark_session() is spark
stop_orca_context()
stop_orca_context()

context = init_orca_context(cores=2, conf={"spark.sql.shuffle.partitions": 3})
spark = OrcaContext.get_spark_session()
assert context.master == "local[2]" and context.range(3).count() == 3
assert spark.conf.get("spark.sql.shuffle.partitions") == "3"
assert spark.range(7).groupBy("id").count().count() == 7
print("done")
"""


@pytest.mark.slow
def test_session_alone_says_nothing_and_its_workers_run_this_python(tmp_path):
    ended = run(ALONE, directory=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


ADOPTS = """
import warnings
from pyspark.sql import SparkSession
from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

theirs = SparkSession.builder.master("local[2]").config("spark.ui.enabled", False).getOrCreate()
with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert OrcaContext.get_spark_session() is theirs
    assert init_orca_context() == theirs.sparkContext
    # What the user's own session has is left as it was.
    assert theirs.sparkContext.range(3).map(lambda x: x + 1).collect() == [1, 2, 3]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    init_orca_context(cores=3)
(warning,) = caught
assert "spark.master is local[2], not local[3]" in str(warning.message), warning
assert warning.filename == __file__, warning
stop_orca_context()
assert theirs.range(3).count() == 3

theirs.stop()
init_orca_context(cores=1)
OrcaContext.get_spark_session().stop()
theirs = SparkSession.builder.master("local[2]").getOrCreate()
stop_orca_context()
assert theirs.range(3).count() == 3
print("done")
"""


@pytest.mark.slow
def test_adopted_session_is_never_stopped(tmp_path):
    ended = run(ADOPTS, directory=tmp_path)
    assert ended.stdout == "done\n", ended.stderr


SUBMITTED = """
from zoo.orca import OrcaContext, init_orca_context

spark = OrcaContext.get_spark_session()
assert spark.sparkContext.master == "local[1]"
assert spark.sparkContext.appName == "submitted"
assert init_orca_context("yarn-cluster") == spark.sparkContext
print("done")
"""


@pytest.mark.slow
def test_program_of_spark_submit_gets_what_it_configures(tmp_path):
    import pyspark

    submit = str(Path(pyspark.__file__).parent / "bin" / "spark-submit")
    environment = WITHOUT_SPARK | {"PYSPARK_PYTHON": sys.executable}
    command = (submit, "--master", "local[1]", "--name", "submitted")
    ended = run(SUBMITTED, command=command, environment=environment, directory=tmp_path)
    assert ended.stdout == "done\n", ended.stderr


UNREACHABLE = """
from zoo.orca import init_orca_context
from zoo.orca.errors import ContextError

try:
    init_orca_context("standalone", master="spark://host-without-a-port")
except ContextError as error:
    print(error)
assert init_orca_context(cores=1).range(5).count() == 5
print("done")
"""


@pytest.mark.slow
def test_cluster_that_cannot_be_reached_is_an_error_and_leaves_nothing(tmp_path):
    ended = run(UNREACHABLE, directory=tmp_path)
    assert ended.stdout.startswith("Spark could not start on spark://host-without-a-port: ")
    assert ended.stdout.endswith("done\n"), ended.stderr


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from zoo.orca import init_orca_context

def children():
    words = Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text()
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in words.split()}
    return [pid for pid, command in commands.items() if b"SparkSubmit" in command]

def interrupt():
    while not children():
        time.sleep(0.02)
    time.sleep(float(sys.argv[1]))
    os.kill(os.getpid(), signal.SIGINT)

# A shell lets what runs in the background ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=interrupt, daemon=True).start()
try:
    init_orca_context(cores=1)
except KeyboardInterrupt:
    print("interrupted", children())
assert init_orca_context(cores=1).range(5).count() == 5
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["0", "1", "2"])
def test_an_interrupted_start_leaves_no_jvm_and_the_next_one_works(tmp_path, seconds):
    program = f"import sys; sys.argv[1:] = [{seconds!r}]\n{INTERRUPTED}"
    # With the options of tests the start might be over before it is interrupted.
    plain = {n: v for n, v in WITHOUT_SPARK.items() if not n.startswith("SPARK_")}
    ended = run(program, environment=plain, directory=tmp_path)
    assert ended.stdout == "interrupted []\ndone\n", ended.stderr


BROKEN_JVM = """
from zoo.orca import init_orca_context
init_orca_context(conf={"spark.driver.extraJavaOptions": "-XX:NoSuchOption=1 -Xmx-1"})
"""


def test_jvm_that_cannot_start_says_why(tmp_path):
    ended = run(BROKEN_JVM, directory=tmp_path)
    assert "ContextError: Java ended before Spark had started" in ended.stderr


NO_JAVA = """
import zoo.orca.context.java
zoo.orca.context.java.find_java.__defaults__ = (zoo.orca.context.java.os.environ, ())
from zoo.orca import OrcaContext
OrcaContext.get_spark_session()
"""


def test_missing_java_names_the_commands_that_install_one(tmp_path):
    environment = {n: v for n, v in WITHOUT_SPARK.items() if n != "JAVA_HOME"}
    environment["PATH"] = str(tmp_path)
    ended = run(NO_JAVA, environment=environment, directory=tmp_path)
    assert ended.returncode == 1
    assert "ContextError: Spark needs Java 17 or newer" in ended.stderr
    assert "apt-get install -y openjdk-17-jre-headless" in ended.stderr


def test_shared_session_is_the_active_one(spark):
    assert OrcaContext.get_spark_session() is spark
    assert OrcaContext.get_spark_context() is spark.sparkContext


def test_the_context_answers_for_its_session(spark):
    from pyspark import SparkContext
    from pyspark.sql import DataFrame

    context = init_orca_context(cores=4)
    assert context == spark.sparkContext and isinstance(context, SparkContext)
    assert spark.sparkContext == context and len({context, init_orca_context(cores=4)}) == 1
    assert context.parallelize([1, 2, 3], 2).map(lambda x: x + 1).collect() == [2, 3, 4]
    assert context.range(3).select("id").collect() == spark.range(3).collect()
    assert context.range(1, 7, step=2, numSlices=1).rdd.getNumPartitions() == 1
    assert context.sql("select 1 as one").first().one == 1
    frame = context.createDataFrame([(1, 2.0)], "a int, b double")
    assert isinstance(frame, DataFrame) and frame.columns == ["a", "b"]
    assert context.conf.get("spark.sql.shuffle.partitions") == "4"
    assert "read" in dir(context) and "parallelize" in dir(context)
    with pytest.raises(AttributeError, match="neither SparkContext nor SparkSession .* 'reed'"):
        context.reed  # noqa: B018


def test_sql_context_is_the_session(spark):
    with pytest.warns(UserWarning, match="replaced SQLContext"):
        assert OrcaContext.get_sql_context() is spark


def test_session_is_found_from_another_thread(spark):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        session = pool.submit(OrcaContext.get_spark_session).result()
    assert session.sparkContext is spark.sparkContext


def test_there_is_no_ray():
    with pytest.raises(ContextError, match="no Ray"):
        OrcaContext.get_ray_context()


def test_ray_is_warned_of_once(spark, recwarn):
    init_orca_context(init_ray_on_spark=True)
    init_orca_context(init_ray_on_spark=True)
    assert ["Ray" in str(warning.message) for warning in recwarn] == [True]


def test_encryption_without_its_package_is_refused_before_anything_starts(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cryptography" else real(name)
    )
    began = []
    monkeypatch.setattr(context_module, "_start_jvm", began.append)
    for conf in ({"spark.orca.encryption": True}, {"spark.network.crypto.enabled": "true"}):
        launch = context_module.plan_launch(context_module.SessionRequest(conf=conf))
        with pytest.raises(MissingPackageError, match=r"zoo-orca\[encryption\]"):
            context_module._started(launch)
    assert not began


def test_modes_of_spark_submit_name_the_command(monkeypatch):
    monkeypatch.setattr("zoo.orca.context.context._active_session", lambda: None)
    with pytest.raises(ContextError, match="spark-submit --master yarn --deploy-mode cluster"):
        init_orca_context("yarn-cluster")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("log_output", True),
        ("pandas_read_backend", "pandas"),
        ("_eager_mode", True),
        ("shard_size", 100),
    ],
)
def test_options_are_checked_and_kept(name, value):
    default = getattr(OrcaContext, name)
    setattr(OrcaContext, name, value)
    assert getattr(OrcaContext, name) == value
    with pytest.raises(InvalidInputError, match=f"OrcaContext.{name} cannot be 'neither'"):
        setattr(OrcaContext, name, "neither")
    with pytest.raises(InvalidInputError):
        setattr(OrcaContext, name, -1)
    setattr(OrcaContext, name, default)


def test_shard_size_has_the_originals_name_too():
    OrcaContext._shard_size = 7
    assert OrcaContext.shard_size == OrcaContext._shard_size == 7
    OrcaContext.shard_size = None
    assert OrcaContext._shard_size is None
    with pytest.raises(InvalidInputError, match="OrcaContext.shard_size cannot be 2.5"):
        OrcaContext._shard_size = 2.5


@pytest.mark.parametrize(
    ("name", "default", "value"),
    [
        ("train_data_store", "DRAM", "DISK_2"),
        ("barrier_mode", True, False),
        ("serialize_data_creator", False, True),
    ],
)
def test_former_options_are_accepted_and_warned_of_once(name, default, value):
    assert getattr(OrcaContext, name) == default
    with pytest.warns(UserWarning, match=f"OrcaContext.{name} has no effect: "):
        setattr(OrcaContext, name, value)
    setattr(OrcaContext, name, value)
    assert getattr(OrcaContext, name) == value


def test_stop_without_a_session_of_ours_does_nothing(monkeypatch):
    from zoo.orca.context import context

    monkeypatch.setattr(context, "_state", context._State())
    stop_orca_context()


class Conf:
    """As pyspark's SparkConf."""

    def getAll(self):  # noqa: N802
        return [("spark.x", "1")]


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ((), {}),
        (("my program",), {"conf": {"spark.app.name": "my program"}}),
        (({"spark.y": "2"},), {"conf": {"spark.y": "2"}}),
        ((Conf(),), {"conf": {"spark.x": "1"}}),
    ],
)
def test_how_programs_began_before(monkeypatch, given, settings):
    import zoo
    from zoo.common.nncontext import init_nncontext

    assert zoo.init_nncontext is init_nncontext
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    module = importlib.import_module("zoo.orca.context.nncontext")
    monkeypatch.setattr(module, "init_orca_context", lambda *args, **named: (args, named))
    assert init_nncontext(*given) == (("local",), {"spark_log_level": "WARN", **settings})
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    assert init_nncontext(*given)[0] == ("spark-submit",)
    assert init_nncontext(*given, cluster_mode="yarn", cores=2)[1]["cores"] == 2
    with pytest.raises(InvalidInputError, match="conf must be a SparkConf, a dict or a name"):
        init_nncontext(3)
