"""Arguments of `init_orca_context` -> Spark configuration; nothing is started."""

import site
from pathlib import Path

import pytest

from zoo.orca.context.clusters import plan_launch, requested_conf
from zoo.orca.context.places import is_found
from zoo.orca.context.request import SessionRequest
from zoo.orca.errors import InvalidInputError

K8S = {"master": "k8s://https://api:443", "container_image": "image:1"}


def plan(mode="local", *, options=None, **arguments):
    return plan_launch(
        SessionRequest(
            cluster_mode=mode, options=options or {}, python="/py/bin/python", **arguments
        )
    )


def test_local_uses_every_core_and_this_python():
    launch = plan()
    assert launch.conf["spark.master"] == "local[*]"
    assert launch.conf["spark.driver.memory"] == "2g"
    assert launch.conf["spark.driver.host"] == "127.0.0.1"
    assert launch.conf["spark.pyspark.python"] == "/py/bin/python"
    assert launch.environment["PYSPARK_PYTHON"] == "/py/bin/python"
    assert launch.warnings == ()
    assert launch.submit_command is None


@pytest.mark.parametrize(("cores", "master"), [(3, "local[3]"), ("*", "local[*]")])
def test_local_cores(cores, master):
    assert plan(cores=cores, memory="8g").conf["spark.master"] == master


def test_local_is_one_node():
    assert "num_nodes=4 has no effect" in plan(num_nodes=4).warnings[0]


def test_python_of_the_environment_is_kept_and_the_argument_beats_it():
    from_environment = plan(python_from_environment="/env/python")
    assert from_environment.environment["PYSPARK_PYTHON"] == "/env/python"
    from_argument = plan(
        python_from_environment="/env/python", options={"python_location": "/arg/python"}
    )
    assert from_argument.environment["PYSPARK_PYTHON"] == "/arg/python"


def test_orca_s_daemon_runs_where_it_is_found():
    key, own = "spark.python.daemon.module", "zoo.orca.context.daemon"
    assert plan(is_found=True).conf[key] == own
    assert key not in plan().conf
    assert key not in plan(is_found=True, python_from_environment="/env/python").conf
    assert key not in plan(is_found=True, conf={"spark.master": "spark://host:7077"}).conf
    assert plan(is_found=True, conf={key: "mine"}).conf[key] == "mine"


def test_a_package_is_found_where_it_is_installed_or_in_pythonpath(tmp_path):
    file = tmp_path / "zoo" / "orca" / "context" / "context.py"
    assert is_found(str(file), {"PYTHONPATH": f"/mine:{tmp_path}"})
    assert not is_found(str(file), {"PYTHONPATH": "/mine"})  # in this program's sys.path alone
    installed = Path(site.getsitepackages()[0])
    assert is_found(str(installed / file.relative_to(tmp_path)), {})


def test_conf_of_the_user_wins():
    conf = {"spark.master": "local[7]", "spark.ui.enabled": True, "spark.x": 3}
    launch = plan(cores=2, conf=conf)
    assert launch.conf["spark.master"] == "local[7]"
    assert launch.conf["spark.ui.enabled"] == "true"
    assert launch.conf["spark.x"] == "3"


def test_java_options_of_the_user_join_ours():
    options = plan(conf={"spark.driver.extraJavaOptions": "-Dx=1"}).conf[
        "spark.driver.extraJavaOptions"
    ]
    assert options.startswith("-Dlog4j2.configurationFile=file:///")
    assert options.endswith(" -Dx=1")


def test_standalone():
    launch = plan(
        "standalone",
        cores=4,
        memory="6g",
        num_nodes=3,
        options={"master": "spark://host:7077", "driver_memory": "3g", "driver_cores": 2},
    )
    wanted = {
        "spark.master": "spark://host:7077",
        "spark.executor.instances": "3",
        "spark.executor.cores": "4",
        "spark.executor.memory": "6g",
        "spark.cores.max": "12",
        "spark.driver.memory": "3g",
        "spark.driver.cores": "2",
        "spark.dynamicAllocation.enabled": "false",
    }
    assert wanted.items() <= launch.conf.items()
    assert launch.environment["PYSPARK_PYTHON"] == "/py/bin/python"


@pytest.mark.parametrize("mode", ["yarn", "yarn-client"])
def test_yarn(mode):
    launch = plan(
        mode,
        num_nodes=2,
        options={
            "hadoop_conf": "/etc/hadoop",
            "hadoop_user_name": "ann",
            "penv_archive": "hdfs:///env.tar.gz",
            "additional_archive": "hdfs:///more.zip#more",
            "spark_yarn_archive": "hdfs:///spark.zip",
            "jars": "a.jar,b.jar",
            "extra_python_lib": "lib.zip",
        },
    )
    wanted = {
        "spark.master": "yarn",
        "spark.submit.deployMode": "client",
        "spark.executor.instances": "2",
        "spark.executor.cores": "2",
        "spark.archives": "hdfs:///env.tar.gz#python_env,hdfs:///more.zip#more",
        "spark.executorEnv.PYSPARK_PYTHON": "python_env/bin/python",
        "spark.yarn.archive": "hdfs:///spark.zip",
        "spark.jars": "a.jar,b.jar",
        "spark.submit.pyFiles": "lib.zip",
    }
    assert wanted.items() <= launch.conf.items()
    assert launch.environment == {
        "HADOOP_CONF_DIR": "/etc/hadoop",
        "YARN_CONF_DIR": "/etc/hadoop",
        "HADOOP_USER_NAME": "ann",
        "PYSPARK_PYTHON": "python_env/bin/python",
    }
    assert launch.warnings == ()


def test_yarn_without_an_archive_says_what_the_executors_need():
    launch = plan("yarn")
    assert launch.environment["PYSPARK_PYTHON"] == "python3"
    assert "penv_archive=" in launch.warnings[0]


@pytest.mark.parametrize("mode", ["k8s", "k8s-client"])
def test_k8s(mode):
    launch = plan(mode, cores=1, options=K8S | {"python_location": "/opt/python"})
    wanted = {
        "spark.master": "k8s://https://api:443",
        "spark.submit.deployMode": "client",
        "spark.kubernetes.container.image": "image:1",
        "spark.executor.cores": "1",
        "spark.executorEnv.PYSPARK_PYTHON": "/opt/python",
    }
    assert wanted.items() <= launch.conf.items()
    assert launch.warnings == ()


def test_k8s_master_needs_no_prefix():
    options = K8S | {"master": "https://api:443"}
    assert plan("k8s", options=options).conf["spark.master"] == "k8s://https://api:443"


@pytest.mark.parametrize(
    ("mode", "options", "start"),
    [
        ("yarn-cluster", {}, "spark-submit --master yarn --deploy-mode cluster --conf "),
        ("k8s-cluster", K8S, "spark-submit --master k8s://https://api:443 --deploy-mode cluster"),
    ],
)
def test_modes_whose_driver_runs_in_the_cluster_name_the_command(mode, options, start):
    launch = plan(mode, num_nodes=5, options=options, conf={"spark.note": "two words"})
    assert launch.submit_command.startswith(start)
    assert "--conf spark.executor.instances=5" in launch.submit_command
    assert "--conf 'spark.note=two words'" in launch.submit_command
    assert launch.submit_command.endswith(" your_program.py")
    # Inside that driver everything is configured; only what the program sets itself is added.
    assert launch.conf == {"spark.note": "two words"}
    assert launch.environment == {}


def test_spark_submit_configures_nothing():
    launch = plan("spark-submit", cores=4)
    assert launch.conf == {}
    assert "cores=" in launch.warnings[0]


@pytest.mark.parametrize(
    ("mode", "options", "missing"),
    [
        ("standalone", {}, "master="),
        ("k8s", {}, "master="),
        ("k8s", {"master": "k8s://https://api"}, "container_image="),
    ],
)
def test_what_a_mode_cannot_do_without(mode, options, missing):
    with pytest.raises(InvalidInputError, match=missing):
        plan(mode, options=options)


def test_unknown_mode_names_the_known_ones_and_the_close_one():
    with pytest.raises(InvalidInputError, match=r"'locall'\nDid you mean local\?"):
        plan("locall")
    with pytest.raises(InvalidInputError, match=r"'x'\nIt is one of local, standalone, "):
        plan("x")


def test_unknown_argument_names_the_close_one():
    with pytest.raises(InvalidInputError, match=r"'contaner_image'\nDid you mean container_image"):
        plan("k8s", options={"contaner_image": "x"})


@pytest.mark.parametrize(
    "name",
    ["object_store_memory", "redis_port", "ray_node_cpu_cores", "ray_anything", "include_webui"],
)
def test_arguments_for_ray_are_accepted_and_named(name):
    (warning,) = plan(options={name: 1}).warnings
    assert warning.startswith(f"{name}= has no effect: ")
    assert "Ray" in warning


def test_arguments_of_another_mode_are_accepted_and_named():
    (warning,) = plan(options={"container_image": "x"}).warnings
    assert warning == "container_image= has no effect with cluster_mode='local'"


@pytest.mark.parametrize(
    "arguments",
    [
        {"cores": 0},
        {"cores": True},
        {"cores": "four"},
        {"num_nodes": 0},
        {"memory": "2 giga"},
        {"memory": "0g"},
        {"mode": "standalone", "cores": "*", "options": {"master": "spark://h:7077"}},
    ],
)
def test_values_that_cannot_be_meant(arguments):
    with pytest.raises(InvalidInputError):
        plan(**arguments)


@pytest.mark.parametrize(
    ("given", "way"),
    [
        (4, 'Write its unit, too, as in memory="4g"'),
        ("512", 'Write its unit, too, as in memory="512g"'),
        (None, 'Write it as Spark does, as in "2g" or "512m"'),
        (2.5, 'Write it as Spark does, as in "2g" or "512m"'),
    ],
)
def test_a_memory_without_a_unit_is_no_size(given, way):
    with pytest.raises(InvalidInputError) as caught:
        plan(memory=given)
    assert str(caught.value) == f"memory={given!r} is not a size\n{way}"
    standalone = {"master": "spark://h:7077", "driver_memory": 3}
    with pytest.raises(InvalidInputError, match="^driver_memory=3 is not a size"):
        plan("standalone", options=standalone)


def test_requested_conf_is_what_differs_from_the_defaults():
    assert requested_conf(SessionRequest()) == {}
    assert requested_conf(SessionRequest(cores=2, conf={"spark.x": 1})) == {
        "spark.master": "local[2]",
        "spark.x": "1",
    }
    assert requested_conf(SessionRequest(cluster_mode="yarn", num_nodes=4)) == {
        "spark.master": "yarn",
        "spark.executor.instances": "4",
    }
