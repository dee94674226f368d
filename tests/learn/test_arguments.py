"""Mistakes that are known before anything starts."""

import sys
from functools import partial

import numpy as np
import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from tests.jobs import no_job
from zoo.orca.driver.storage import load_state
from zoo.orca.errors import InvalidInputError, MissingPackageError
from zoo.orca.learn.arguments import (
    check_creator,
    checked_config,
    frequency,
    packed_callbacks,
    positive,
    verbosity,
)
from zoo.orca.learn.pytorch import Estimator as TorchEstimator
from zoo.orca.learn.tf2 import Estimator as KerasEstimator

pytestmark = pytest.mark.timeout(120)
classic = pytest.mark.classic("a server's workers run the Python that it was started with")


def creator(config):
    raise AssertionError("never called here")


def make(framework, **engine):
    """Make an estimator of each framework."""
    if framework == "torch":
        from zoo.orca.learn.pytorch import Estimator

        return Estimator.from_torch(model=creator, optimizer=creator, loss=creator, **engine)
    if framework == "tf2":
        from zoo.orca.learn.tf2 import Estimator
    else:
        from zoo.orca.learn.keras import Estimator
    kind = {} if framework == "tf2" else {"keras_backend": framework.partition("-")[2]}
    return Estimator.from_keras(model_creator=creator, **kind, **engine)


@pytest.mark.parametrize("framework", ["tf2", "keras-jax", "torch"])
def test_every_framework_has_a_fewest_number_of_workers(framework: str, tmp_path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make(framework, min_workers=2)
    first, second = str(caught.value).splitlines()
    assert first.startswith("min_workers=2 needs model_dir") and "a model_dir that" in second
    made = make(framework, min_workers=2, num_workers=2, model_dir=str(tmp_path))
    assert made._options.min_workers == 2
    assert make(framework)._options.min_workers is None


MISSING = [
    ("tf2", "tensorflow", "'zoo-orca[tf2]'"),
    ("torch", "torch", "'zoo-orca[torch]'"),
    ("keras-jax", "keras", "'zoo-orca[keras]'"),
    ("keras-jax", "jax", "'zoo-orca[keras]'"),
    ("keras-torch", "torch", "torch"),
]


@classic
@pytest.mark.parametrize(("framework", "package", "install"), MISSING)
def test_a_missing_framework_is_found_before_anything_starts(
    spark: SparkSession, monkeypatch, framework: str, package: str, install: str
) -> None:
    made = make(framework)
    frame = spark.range(4).selectExpr("double(id) as x", "double(id) as y")
    monkeypatch.setitem(sys.modules, package, None)
    for call in (
        lambda: make(framework),
        lambda: made.fit(frame, feature_cols="x", label_cols="y"),
        lambda: made.predict(frame, feature_cols="x"),
    ):
        with no_job(spark), pytest.raises(MissingPackageError) as caught:
            call()
        first, second = str(caught.value).splitlines()
        assert first.startswith(
            f"the package {package!r} is not installed in this program's Python"
        )
        assert second == f"Install it: {sys.executable} -m pip install {install}"


@pytest.fixture
def stream(spark: SparkSession, tmp_path):
    """A stream of four rows."""
    rows = spark.range(4).selectExpr("double(id) as x", "double(id) as y")
    rows.write.parquet(str(tmp_path / "rows"))
    return spark.readStream.schema(rows.schema).parquet(str(tmp_path / "rows"))


def test_a_stream_is_refused_with_the_way_to_train_on_its_batches(stream, tmp_path) -> None:
    est = FakeEstimator.of(linear(1))
    functions = {
        "fit": "est.batch_trainer(path, ...)",
        "evaluate": "lambda batch, n: est.evaluate(batch, ...)",
    }
    for call, name in ((est.fit, "fit"), (est.evaluate, "evaluate")):
        with pytest.raises(InvalidInputError) as caught:
            call(stream)
        first, second = str(caught.value).splitlines()
        assert first == f"{name} got a streaming DataFrame, which never ends"
        way = second.partition(": ")[2]
        assert way == f"stream.writeStream.foreachBatch({functions[name]})"
    bounded = stream.sparkSession.createDataFrame([(1.0, 2.0)], "x double, y double")
    with pytest.raises(InvalidInputError, match="streaming DataFrame as validation_data"):
        est.fit(bounded, validation=stream)
    # The way out, run as it is written.
    way = "stream.writeStream.foreachBatch(est.batch_trainer(path, features=['x']))"
    query = eval(way, {"stream": stream, "est": est, "path": str(tmp_path / "state")})
    query.option("checkpointLocation", str(tmp_path / "at"))
    query.trigger(availableNow=True).start().awaitTermination()
    # Over Spark Connect the server has trained, and not the estimator that is here.
    assert load_state(str(tmp_path / "state")).meta["stream"]["batch"] == 0


@classic
def test_another_python_may_have_what_this_one_lacks(spark: SparkSession, monkeypatch) -> None:
    monkeypatch.setattr(spark.sparkContext, "pythonExec", "/opt/other/python")
    monkeypatch.setitem(sys.modules, "torch", None)
    make("torch")


@pytest.mark.parametrize(
    ("value", "way"),
    [
        (0, "Write epochs=1, or more"),
        (-3, "Write epochs=1, or more"),
        (2.5, "Write epochs=1, or more"),
        ("3", "Write epochs=1, or more"),
        (True, "Write epochs=1, or more"),
        (None, "Write epochs=1, or more"),
        (float("nan"), "Write epochs=1, or more"),
        (3.0, "Write epochs=3, a Python int"),
        (np.int64(3), "Write epochs=3, a Python int"),
    ],
)
def test_counts_are_whole_numbers_from_one(value, way: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        positive("epochs", value)
    first, second = str(caught.value).splitlines()
    assert first == f"epochs must be a whole number from 1, got {value!r}"
    assert second == way
    positive("epochs", 1)
    positive("num_steps", None, optional=True)


@pytest.mark.parametrize(
    ("value", "way"),
    [
        (-1, "Write initial_epoch=0, or more; or leave initial_epoch out"),
        (0.5, "Write initial_epoch=0, or more; or leave initial_epoch out"),
        (np.int64(0), "Write initial_epoch=0, a Python int; or leave initial_epoch out"),
    ],
)
def test_the_first_epoch_is_a_whole_number_from_0(spark: SparkSession, value, way: str) -> None:
    est = KerasEstimator.from_keras(model_creator=lambda config: None)
    frame = spark.range(1)
    with pytest.raises(InvalidInputError) as caught:
        est.fit(frame, 3, feature_cols=["id"], label_cols=["id"], initial_epoch=value)
    first, second = str(caught.value).splitlines()
    assert first == f"initial_epoch must be a whole number from 0, got {value!r}"
    assert second == way


@pytest.mark.parametrize(
    ("value", "way"),
    [
        (-1, "Write seed=0, or another"),
        (1 << 32, "Write seed=0, or another"),
        (None, "Write seed=0, or another"),
        ("7", "Write seed=0, or another"),
        (True, "Write seed=0, or another"),
        (1.5, "Write seed=0, or another"),
        (np.uint32(7), "Write seed=7, a Python int"),
    ],
)
def test_a_seed_is_one_that_every_framework_takes(value, way: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        KerasEstimator.from_keras(model_creator=lambda config: None, seed=value)
    first, second = str(caught.value).splitlines()
    assert first == f"seed must be a whole number from 0 to 4294967295, got {value!r}"
    assert second == way
    for seed in (0, (1 << 32) - 1):
        KerasEstimator.from_keras(model_creator=lambda config: None, seed=seed)


@pytest.mark.parametrize("value", ["bf16", "float16", None, np.float32])
@pytest.mark.parametrize("make", [KerasEstimator.from_keras, TorchEstimator.from_torch])
def test_gradients_are_sent_as_a_type_that_there_is(make, value) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make(gradient_dtype=value)
    first, second = str(caught.value).splitlines()
    assert first == f"gradient_dtype must be 'float32' or 'bfloat16', got {value!r}"
    assert second.startswith("Write 'bfloat16' to send half the bytes between hosts")
    for name in ("float32", "bfloat16"):
        assert make(gradient_dtype=name)._options.gradient_dtype == name


@pytest.mark.parametrize("value", [0, -2, 0.5, "2", None, True, np.int64(2)])
def test_validation_comes_after_so_many_epochs(value) -> None:
    with pytest.raises(InvalidInputError, match="^validation_freq must be a whole number from 1"):
        frequency(value)
    assert frequency(2) == 2


@pytest.mark.parametrize("value", [[0], [1, -1], (2, 0.5), ["1"], {None}, [True]])
def test_validation_comes_after_these_epochs(value) -> None:
    with pytest.raises(InvalidInputError, match="^validation_freq lists epochs.*\nWrite whole"):
        frequency(value)
    assert frequency([1, 5, 10]) == frequency(np.array([1, 5, 10])) == (1, 5, 10)
    assert frequency(range(1, 3)) == (1, 2)


@pytest.mark.parametrize("value", ["on", -1, None, 1.5])
def test_how_much_a_call_shows_is_a_number_or_kerass_auto(spark: SparkSession, value) -> None:
    est = KerasEstimator.from_keras(model_creator=lambda config: None)
    frame = spark.range(1)
    for call in (est.fit, est.evaluate):
        with pytest.raises(InvalidInputError, match="^verbose must be 0, 1, 2 or 'auto', got"):
            call(frame, feature_cols=["id"], label_cols=["id"], verbose=value)
    assert [verbosity(one) for one in (0, 1, 2, "auto", True, False)] == [0, 1, 2, 1, 1, 0]


CALLED = "model_creator cannot be called as model_creator(config): "


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda: None, f"{CALLED}too many positional arguments"),
        (lambda config, size: None, f"{CALLED}missing a required argument: 'size'"),
        ("model", "model_creator must be a function, got a str"),
    ],
)
def test_creators_are_functions_of_what_they_are_called_with(given, told: str) -> None:
    from zoo.orca.learn.tf2 import Estimator

    with pytest.raises(InvalidInputError) as caught:
        Estimator.from_keras(model_creator=given)
    first, second = str(caught.value).splitlines()
    assert first == told
    assert second == "Write def model_creator(config): ..., and let it return a compiled model"


def test_creators_may_take_more_than_they_are_called_with() -> None:
    class Made:
        def __call__(self, config, size=3):
            pass

    for given in (
        Made(),
        lambda config, size=1: None,
        lambda *a: None,
        print,
        partial(int, base=2),
    ):
        check_creator("model_creator", given, "a model", "config")


def test_a_configuration_is_a_dict_and_callbacks_are_a_list() -> None:
    with pytest.raises(
        InvalidInputError, match=r"config must be a dict, got a list\nWrite config="
    ):
        checked_config([1])
    with pytest.raises(
        InvalidInputError, match=r"callbacks must be a list, got one int\nWrite callb"
    ):
        packed_callbacks(3)
    assert packed_callbacks([]) is None and packed_callbacks(None) is None
