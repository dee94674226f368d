"""What users may want of predictions: by output, and refused with the output's name and shape."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.data import XShards
from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.predicting.output_types import AS_USUAL, Wanted
from zoo.orca.wire.outputs import OutputSpec, Scale
from zoo.orca.wire.predicting.column_forms import NESTED, USUAL, ColumnForm, ColumnKind


def output(*row_shape: int | None, dtype: str = "float32", **more: Any) -> OutputSpec:
    return OutputSpec(**{"name": "out", "dtype": dtype, "row_shape": row_shape, **more})


pytestmark = pytest.mark.timeout(300)

ONE, THREE = output(1, scale=Scale.PROBABILITIES), output(3)
TWO = [output(1, name="click", scale=Scale.LOGITS), output(3, name="kind")]


def forms(*outputs: OutputSpec, has_vectors: bool = True, **wanted: Any) -> Any:
    return Wanted(**wanted).forms(outputs, has_vectors)


def test_nothing_wanted_is_as_usual() -> None:
    assert AS_USUAL.forms(TWO, True) == (USUAL, USUAL)
    assert AS_USUAL.forms(TWO, False) == (NESTED, NESTED)


def test_one_word_is_for_every_output() -> None:
    assert [one.kind for one in forms(*TWO, output_type="array")] == [ColumnKind.ARRAY] * 2
    assert [one.kind for one in forms(*TWO, output_type="vector")] == [ColumnKind.VECTOR] * 2
    no_vectors = forms(*TWO, output_type="vector", has_vectors=False)
    assert [one.kind for one in no_vectors] == [ColumnKind.ARRAY] * 2


def test_each_output_its_own() -> None:
    by_name = forms(*TWO, output_type={"kind": "class"}, labels={"kind": ["a", "b", "c"]})
    assert by_name == (USUAL, ColumnForm(kind=ColumnKind.CLASS, labels=("a", "b", "c")))
    in_order = forms(*TWO, output_type=["scalar", None])
    assert in_order == (ColumnForm(kind=ColumnKind.SCALAR), USUAL)


def test_labels_go_to_the_only_output_that_is_a_class() -> None:
    found = forms(*TWO, output_type=[None, "class"], labels=["a", "b", "c"])
    assert found[1].labels == ("a", "b", "c") and found[0] is USUAL


def test_what_one_number_means_is_what_the_model_tells_or_the_user() -> None:
    assert forms(ONE, output_type="class")[0].threshold == 0.5
    assert forms(output(scale=Scale.LOGITS), output_type="class")[0].threshold == 0.0
    assert forms(ONE, output_type="class", threshold=np.float32(0.75))[0].threshold == 0.75
    assert forms(output(), output_type="class", threshold=0)[0].threshold == 0.0


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (np.array(["no", "yes"]), ("no", "yes")),
        (np.array([3, 4]), (3, 4)),
        ([1, 2.5], (1.0, 2.5)),
        ((False, True), (False, True)),
    ],
)
def test_labels_of_any_sequence(labels: Any, found: tuple[Any, ...]) -> None:
    names = forms(ONE, output_type="class", labels=labels)[0].labels
    assert names == found and list(map(type, names)) == list(map(type, found))


@pytest.mark.parametrize(
    ("wanted", "cause", "way"),
    [
        ({"output_type": "klass"}, "output_type must be one of", "a dict by their names"),
        ({"output_type": 3}, "got 3", "a dict by their names"),
        ({"output_type": "array", "labels": ["a"]}, "labels belongs to", "leave labels out"),
        ({"threshold": 0.5}, "threshold belongs to", "leave threshold out"),
        ({"output_type": "class", "threshold": "high"}, "must be a number, got 'high'", "0.5"),
        ({"output_type": "class", "labels": "ab"}, "labels must be a list", "['no', 'yes']"),
        ({"output_type": "class", "labels": ["a", 1]}, "one type, got ['a', 1]", "str(label)"),
        ({"output_type": "class", "labels": []}, "one type, got []", "str(label)"),
    ],
)
def test_what_no_model_could_give_is_refused_at_once(
    wanted: dict[str, Any], cause: str, way: str
) -> None:
    check_refused(lambda: Wanted(**wanted), cause, way)


@pytest.mark.parametrize(
    ("outputs", "wanted", "cause", "way"),
    [
        ([THREE], {"output_type": "scalar"}, "shape (rows, 3) of float32", "'array'"),
        ([output(None)], {"output_type": "scalar"}, "shape (rows, ?) of float32", "'array'"),
        ([output(2, 3)], {"output_type": "vector"}, "shape (rows, 2, 3)", "'array'"),
        ([output(3, dtype="int64")], {"output_type": "vector"}, "of int64", "keeps them all"),
        ([output(dtype="string")], {"output_type": "vector"}, "(rows,) of string", "'array'"),
        ([output(3, dtype="string")], {"output_type": "class"}, "text is no number", "'array'"),
        ([output(None)], {"output_type": "class"}, "number of classes is open", "'array'"),
        ([output(1)], {"output_type": "class"}, "a probability or a logit", "threshold=0.0"),
        ([THREE], {"output_type": "class", "threshold": 0.5}, "(rows, 3)", "Leave threshold out"),
        (
            [THREE],
            {"output_type": "class", "labels": ["a", "b"]},
            "labels has 2 names, and the model's output 'out' has 3 classes",
            "one for each class",
        ),
        ([ONE], {"output_type": "class", "labels": ["a"]}, "has 2 classes", "one for each"),
        (TWO, {"output_type": ["class"]}, "has 1 values, and the model has 2", "click"),
        (TWO, {"output_type": {"clik": "class"}}, "the output 'clik'", "Name some of these"),
        (TWO, {"output_type": "class", "labels": ["a", "b"]}, "of which", "labels={'click'"),
        (
            TWO,
            {"output_type": {"kind": "class"}, "labels": {"click": ["a", "b"]}},
            "'click', whose output_type is not 'class'",
            "leave it out",
        ),
    ],
)
def test_what_this_model_does_not_give_is_refused(
    outputs: list[OutputSpec], wanted: dict[str, Any], cause: str, way: str
) -> None:
    check_refused(lambda: forms(*outputs, **wanted), cause, way)


def check_refused(call: Any, cause: str, way: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        call()
    first, second = str(caught.value).split("\n")
    assert cause in first and way in second


def test_a_creators_predictions_have_no_columns() -> None:
    AS_USUAL.refuse_for_creators()
    with pytest.raises(InvalidInputError, match="data creator"):
        Wanted(output_type="class").refuse_for_creators()


@pytest.fixture(scope="module")
def identity(spark: SparkSession) -> FakeEstimator:
    """Predicts about x."""
    x = np.linspace(-1, 1, 40, dtype=np.float32)
    est = FakeEstimator.of(linear(rate=1.0))
    est.fit({"x": x, "y": x}, epochs=20)
    return est


def test_every_form_has_them(spark: SparkSession, identity: FakeEstimator) -> None:
    """The same classes as numpy makes of what is predicted without them."""
    x = np.random.default_rng(0).normal(size=100).astype(np.float32)
    plain = identity.predict({"x": x})["prediction"]
    expected = np.where(plain > 0.25, "high", "low").tolist()
    wanted = {"output_type": "class", "threshold": 0.25, "labels": ["low", "high"]}
    assert set(expected) == {"low", "high"}
    frame = pd.DataFrame({"x": x})
    table = spark.createDataFrame(frame)
    for data in (frame, pa.table({"x": x}), {"x": x}):
        assert list(np.asarray(identity.predict(data, **wanted)["prediction"])) == expected
    on_spark = identity.predict(table.pandas_api(), **wanted)
    rows = on_spark.to_spark(index_col="row").orderBy("row").collect()
    assert [row.prediction for row in rows] == expected
    found = identity.predict(table, **wanted)
    assert found.schema["prediction"].dataType.simpleString() == "string"
    assert [row.prediction for row in found.collect()] == expected
    shards = XShards.partition({"x": x})
    parts = identity.predict(shards, **wanted).collect()
    assert np.concatenate([part["prediction"] for part in parts]).tolist() == expected


def test_a_nan_has_no_class_in_any_form(spark: SparkSession, identity: FakeEstimator) -> None:
    x = np.array([np.nan, 1.0, -1.0], np.float32)
    wanted = {"output_type": "class", "threshold": 0.0}
    frame = spark.createDataFrame(pa.table({"x": x}))
    assert [row.prediction for row in identity.predict(frame, **wanted).collect()] == [None, 1, 0]
    found = identity.predict({"x": x}, **wanted)["prediction"]
    assert np.isnan(found[0]) and found[1:].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("kind", "spark_type"),
    [("array", "array<float>"), ("vector", "vector"), ("scalar", "float"), (None, "float")],
)
def test_the_types_of_columns(
    spark: SparkSession, identity: FakeEstimator, kind: str | None, spark_type: str
) -> None:
    rows = spark.range(3).selectExpr("id", "cast(id as float) as x")
    plain = [row.prediction for row in identity.predict(rows).collect()]
    found = identity.predict(rows, output_type=kind)
    assert found.schema["prediction"].dataType.simpleString() == spark_type
    values = [row.prediction for row in found.collect()]
    assert [float(one[0]) if kind in ("array", "vector") else one for one in values] == plain


def test_what_is_wanted_is_refused_before_anything_runs(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise AssertionError("a job was started")

    monkeypatch.setattr("zoo.orca.driver.request.run_stage", refuse)
    with pytest.raises(InvalidInputError, match="output_type must be one of"):
        FakeEstimator.of(linear()).predict(spark.range(3), ["id"], output_type="number")
