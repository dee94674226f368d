"""Rows come in in any form; what comes out is the same."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca import OrcaContext
from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.forms.entry import entered, entered_both, form_of
from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.results import TrainingStats

pytestmark = pytest.mark.timeout(180)

ROWS = 500


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """The rows of every form here."""
    random = np.random.default_rng(3)
    x = random.random((ROWS, 3))
    return {"x": x, "y": x @ [1.0, -2.0, 0.5], "count": random.integers(0, 9, ROWS)}


def as_pandas(arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    return pd.DataFrame({name: list(values) for name, values in arrays.items()})


def as_arrow(arrays: dict[str, np.ndarray]) -> pa.Table:
    return pa.Table.from_pandas(as_pandas(arrays), preserve_index=False)


def on_spark(arrays: dict[str, np.ndarray]) -> DataFrame:
    # So many partitions that its rows move to the workers as those from outside do.
    spark = OrcaContext.get_spark_session()
    return spark.createDataFrame(as_arrow(arrays)).repartition(5)


FORMS = {
    "pandas": as_pandas,
    "arrow": as_arrow,
    "batch": lambda arrays: as_arrow(arrays).combine_chunks().to_batches()[0],
    "arrays": dict,
    "pandas-on-Spark": lambda arrays: on_spark(arrays).pandas_api(),
}
FEATURES = ["x", "count"]


def of_frame(workers: int, arrays: dict[str, np.ndarray]) -> tuple[FakeEstimator, dict]:
    est = FakeEstimator.of(linear(4, rate=0.01), workers=workers)
    frame = on_spark(arrays)
    stats = est.fit(frame, FEATURES, epochs=2, batch_size=32, validation=frame)
    return est, figures(stats, est.evaluate(frame, FEATURES, batch_size=32))


def figures(stats: TrainingStats, found: dict[str, float]) -> dict[str, float]:
    """The history and an evaluation in one dict of numbers."""
    return {**{f"{k}{n}": v for k, vs in stats.history.items() for n, v in enumerate(vs)}, **found}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_form_trains_as_the_dataframe_of_its_rows(
    spark: SparkSession, arrays: dict, workers: int
) -> None:
    expected, told = of_frame(workers, arrays)
    for name, form in FORMS.items():
        data = form(arrays)
        est = FakeEstimator.of(linear(4, rate=0.01), workers=workers)
        stats = est.fit(data, FEATURES, epochs=2, batch_size=32, validation=data)
        assert stats.order == "canonical", name
        found = est.evaluate(data, FEATURES, batch_size=32)
        assert figures(stats, found) == pytest.approx(told, rel=1e-6), name
        np.testing.assert_allclose(est.weights, expected.weights, rtol=1e-9, err_msg=name)


@pytest.mark.filterwarnings("ignore:`to_pandas` loads all data")
def test_every_form_is_answered_in_its_own(spark: SparkSession, arrays: dict) -> None:
    est, _ = of_frame(1, arrays)
    expected = np.column_stack([arrays["x"], arrays["count"]]) @ est.weights
    for name, form in FORMS.items():
        data = form(arrays)
        found = est.predict(data, FEATURES)
        assert type(found) is type(data), name
        there = found.to_pandas() if hasattr(found, "to_pandas") else found
        if name == "pandas-on-Spark":  # whose rows lie in another order
            there = there.assign(key=there["x"].str[0]).sort_values("key")
            order = np.argsort(arrays["x"][:, 0])
            np.testing.assert_allclose(there["prediction"], expected[order], rtol=1e-5)
        else:
            np.testing.assert_allclose(there["prediction"], expected, rtol=1e-5, err_msg=name)


def test_the_two_inputs_of_a_fit_may_have_two_forms(spark: SparkSession, arrays: dict) -> None:
    _, told = of_frame(1, arrays)
    frame = on_spark(arrays)
    for data, validation in ((as_pandas(arrays), frame), (frame, arrays)):
        est = FakeEstimator.of(linear(4, rate=0.01))
        stats = est.fit(data, FEATURES, epochs=2, batch_size=32, validation=validation)
        found = figures(stats, {})
        assert found == pytest.approx({name: told[name] for name in found}, rel=1e-6)


def test_rows_go_to_the_session_of_the_other_frame(spark: SparkSession, arrays: dict) -> None:
    other = spark.newSession()
    frame = other.range(3).selectExpr("double(id) as x", "double(id) as y")
    data = pd.DataFrame({"x": [1.0], "y": [2.0]})
    columns = Columns("x", "y")
    given, validation = entered_both(data, frame, columns)
    assert given.frame.sparkSession is validation.sparkSession is other
    given, validation = entered_both(frame, data, columns)
    assert given.frame.sparkSession is validation.sparkSession is other
    assert entered(data, columns).frame.sparkSession is spark


def test_nothing_is_moved_before_the_argument_is_known_to_be_a_form(spark: SparkSession) -> None:
    with pytest.raises(InvalidInputError, match="^validation_data must be a DataFrame of Spark"):
        entered_both(pd.DataFrame({"x": [{1}]}), 3, Columns("x"))


WAYS = {
    "series": lambda spark: pd.Series([1.0]),
    "chunks": lambda spark: pa.chunked_array([[1.0]]),
    "numpy": lambda spark: np.array([[1.0, 2.0]]),
    "rdd": lambda spark: spark.sparkContext.parallelize([(1.0, 2.0)], 1),
}


RDD = pytest.param("rdd", marks=pytest.mark.classic("only there are RDDs"))


@pytest.mark.parametrize("kind", ["series", "chunks", "numpy", RDD])
def test_what_has_no_form_is_named_with_the_way_to_one(spark: SparkSession, kind: str) -> None:
    data = WAYS[kind](spark)
    with pytest.raises(InvalidInputError) as caught:
        form_of(data, "data")
    first, second = str(caught.value).splitlines()
    assert first.startswith("data must be a DataFrame of Spark or pandas, an Arrow table or a dict")
    # The way out, run as it is written.
    way = second.partition(": ")[2].removesuffix(", a name for each column")
    way = way.removesuffix(", where x are the model's inputs")
    made = eval(way, {"data": data, "pyarrow": pa, "labels": np.zeros(1)})
    assert entered(made, Columns("x")).frame.count() == 1


A_CREATOR = "Pass a function that makes it: def creator(config, batch_size)"


def test_other_things_have_no_form_either() -> None:
    for data, told in (
        ("rows.parquet", "got a str\nRead a DataFrame from there: spark.read.parquet(data)"),
        ((1, 2), "got a tuple\nPass a dict: {'x': inputs, 'y': labels}"),
        (None, "got a NoneType\nPass a Spark DataFrame"),
        (torch.utils.data.TensorDataset(torch.zeros(1)), f"TensorDataset\n{A_CREATOR}"),
        (torch.utils.data.DataLoader([1]), f"DataLoader\n{A_CREATOR}"),
        ((row for row in [1]), f"got a generator\n{A_CREATOR}"),
        (len, "got a builtin_function_or_method\nPass a Spark DataFrame"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            form_of(data, "data")
        assert told in str(caught.value)


def test_a_form_is_known_without_an_import() -> None:
    program = """
import sys
from zoo.orca.learn.forms.entry import form_of
form_of({"x": [1.0]}, "data")
try:
    form_of(3, "data")
except ValueError:
    print(sorted({"pandas", "pyspark.pandas", "polars"} & set(sys.modules)))
"""
    run = [sys.executable, "-c", program]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_a_program_without_a_session_gets_one() -> None:
    program = """
import pandas
from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.context.sessions import known_session
if __name__ == "__main__":
    assert known_session() is None
    est = FakeEstimator.of(linear())
    data = pandas.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]})
    est.fit(data, epochs=2)
    print(len(est.predict(data)), known_session().conf.get("spark.master"))
"""
    run = [sys.executable, "-c", program]
    found = subprocess.run(run, capture_output=True, text=True, timeout=150, check=True).stdout
    assert found.splitlines()[-1] == "2 local[*]"
