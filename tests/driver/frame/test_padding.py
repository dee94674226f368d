"""Columns of unequal length, from a DataFrame to the workers and back."""

import logging
import re
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.data import column
from zoo.orca.driver.frame.source import column_names, read_spec
from zoo.orca.errors import ColumnError, DataError
from zoo.orca.wire.faults import null_message
from zoo.orca.wire.features import ColumnSpec
from zoo.orca.wire.messages.rows import Finding

pytestmark = pytest.mark.timeout(120)

HISTORY = column("history", pad=0.0, length=4)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """Histories of 0 to 6 numbers, in five partitions; `fixed` is what padding makes of them."""
    history = F.expr("transform(sequence(0, id % 7), i -> float((id * 7 + i * i) % 5) / 5)")
    history = F.slice(history, 1, (F.col("id") % 7).cast("int"))
    last = F.expr("slice(history, greatest(1, size(history) - 3), 4)")
    fixed = F.expr("concat(last, array_repeat(float(0), 4 - size(last)))")
    return (
        spark.range(0, 210, 1, 5)
        .withColumn("history", history)
        .withColumn("last", last)
        .withColumn("fixed", fixed)
        .withColumn("y", F.expr("aggregate(fixed, 0D, (a, x) -> 2 * a + x)"))
        .withColumn("label", F.transform("history", lambda x: x.cast("int")))
        .cache()
    )


@pytest.fixture(scope="module")
def whole(rows: DataFrame) -> DataFrame:
    """The same rows, where they stay: after an exchange their order depends on what is in them."""
    return rows.repartition(1).cache()


def trained(rows: DataFrame, feature: Any, workers: int = 1, width: int = 4) -> FakeEstimator:
    estimator = FakeEstimator.of(linear(width, rate=0.01), workers)
    estimator.fit(rows, [feature], epochs=2, batch_size=16)
    return estimator


@pytest.mark.classic("only there rows are known to stay where they lie")
def test_a_padded_column_trains_as_the_same_column_stored_fixed(
    rows: DataFrame, whole: DataFrame
) -> None:
    fixed = trained(whole, "fixed")
    np.testing.assert_array_equal(trained(whole, HISTORY).weights, fixed.weights)
    predicted = fixed.predict(rows, ["fixed"]).orderBy("id").toPandas()["prediction"]
    # Not told again what was padded, and how.
    estimator = trained(whole, HISTORY)
    again = estimator.predict(rows, None).orderBy("id").toPandas()["prediction"]
    np.testing.assert_array_equal(again, predicted)
    assert estimator.evaluate(rows, None) == fixed.evaluate(rows, ["fixed"])


@pytest.mark.parametrize("feature", [HISTORY, column("history", pad=1, mask="is_there")])
def test_the_numbers_do_not_depend_on_the_workers(rows: DataFrame, feature: Any) -> None:
    width = 12 if feature.mask else 4
    alone = trained(rows, feature, width=width).weights
    for workers in (2, 3):
        found = trained(rows, feature, workers, width).weights
        np.testing.assert_allclose(found, alone, rtol=1e-12)


def test_rows_beyond_memory_are_padded_too(spark: SparkSession, whole: DataFrame) -> None:
    conf = "spark.orca.data.memory"
    found = []
    try:
        for feature in (HISTORY, "fixed"):
            spark.conf.set(conf, "2k")
            found.append(trained(whole, feature).weights)
    finally:
        spark.conf.unset(conf)
    np.testing.assert_array_equal(*found)
    assert (trained(whole, HISTORY).weights != found[0]).any()


def test_the_longest_of_all_rows_is_kept_in_the_state(rows: DataFrame, tmp_path: Any) -> None:
    few, feature = rows.where("id % 7 < 4"), column("history", keep="first", mask="m")
    estimator = trained(few, feature, 2, width=6)
    estimator.save(str(tmp_path / "state"))
    loaded = FakeEstimator.of(linear(6))
    loaded.load(str(tmp_path / "state"))
    seen = loaded._seen_columns
    assert [c.shape for c in seen.features] == [(3,), (3,)]
    assert column_names(seen.features, None) == [
        column("history", pad=0.0, length=3, keep="first", mask="m")
    ]
    cut = rows.withColumn("history", F.slice("history", 1, 3))
    one, other = (
        loaded.predict(frame, given).orderBy("id").toPandas()["prediction"]
        for frame, given in ((rows, None), (cut, [feature]))
    )
    np.testing.assert_array_equal(one, other)


def test_arrays_of_arrays_are_padded_at_both_levels(spark: SparkSession) -> None:
    nested = spark.sql(
        "select array(array(1.0F, 2.0F), array(3.0F)) as m, 1.0D as y union all "
        "select array(), 0.0D union all select array(array(), array(4.0F, 5.0F, 6.0F)), 2.0D"
    )
    fixed = spark.sql(
        "select array(1.0F, 0F, 3F, 0F) as m, 1.0D as y union all select array(0F, 0F, 0F, 0F), "
        "0.0D union all select array(0F, 0F, 4F, 5F), 2.0D"
    )
    padded = column("m", length=(None, 2), keep="first")
    wide = trained(nested.coalesce(1), padded)
    ours = wide.predict(nested, None).orderBy("y").toPandas()["prediction"]
    # What is cut is cut at the end of the inner arrays.
    plain = FakeEstimator.of(linear(4, rate=0.01))
    plain.fit(fixed.withColumn("m", F.expr("transform(m, x -> x)")).coalesce(1), ["m"], epochs=2)
    assert wide.weights.shape == plain.weights.shape
    assert len(ours) == 3


def test_the_error_for_unequal_lengths_says_what_trains(rows: DataFrame) -> None:
    with pytest.raises(DataError) as caught:
        trained(rows, "history")
    way = str(caught.value).splitlines()[1]
    found = re.fullmatch(r"Pad them: (from .*), and (column\(.*\)) in place of 'history'; .*", way)
    there: dict[str, Any] = {}
    exec(found[1], there)
    estimator = trained(rows, eval(found[2], there), width=6)
    assert estimator.predict(rows, None).where("prediction is null").count() == 0


@pytest.mark.parametrize("kind", ["array<int>", "array<array<double>>"])
def test_null_arrays_become_empty_as_the_error_says(spark: SparkSession, kind: str) -> None:
    df = spark.sql(f"select cast(null as {kind}) as x")
    spec = read_spec(df, [column("x")]).features[0]
    way = null_message(Finding(column="x", data="train", kind="null", rows=1, example=""), 1, spec)
    filled = eval(re.search(r"F\.coalesce\(.*\)\)", way)[0], {"F": F})
    assert df.select(filled.alias("x")).first() == ([],)


@pytest.mark.parametrize("kind", ["double", "int", "string", "boolean"])
def test_nulls_are_filled_as_the_error_says(spark: SparkSession, kind: str) -> None:
    df = spark.sql(f"select cast(x as {kind}) as x, 1.0D as y from values ('1'), (null) as t(x)")
    if kind == "string":
        spec = read_spec(df, "x")
        assert spec.features == (ColumnSpec(name="x", dtype="string"),)
    with pytest.raises(DataError) as caught:
        trained(df, "x", width=1)
    way = str(caught.value).splitlines()[1]
    filled = eval(re.search(r"df\.fillna\(.*?\]\)", way)[0], {"df": df})
    assert filled.where("x is null").count() == 0
    if kind in ("double", "int"):
        from pyspark.ml.feature import Imputer

        call = re.search(r"Imputer\((inputCol='x'), \.\.\.\)", way)[1]
        imputer = eval(f"Imputer({call}, outputCol='x_filled')", {"Imputer": Imputer})
        trained(imputer.fit(df).transform(df), "x_filled", width=1)
    else:
        assert "Imputer" not in way


def test_nulls_inside_arrays_are_filled_as_the_error_says(whole: DataFrame) -> None:
    holes = whole.withColumn("history", F.expr("transform(history, x -> nullif(x, float(0)))"))
    with pytest.raises(DataError) as caught:
        trained(holes, HISTORY)
    call = re.search(r"or fill them: (F\.transform\(.*\))$", str(caught.value).splitlines()[1])[1]
    filled = holes.withColumn("history", eval(call, {"F": F}))
    np.testing.assert_array_equal(
        trained(filled, HISTORY).weights,
        trained(whole, HISTORY).weights,
    )


@pytest.mark.parametrize(
    ("features", "labels", "told"),
    [
        ([column("history", pad=True)], None, "pad=True is not a value of float32"),
        ([column("id")], None, "column 'id' holds one value a row, so there is nothing to pad"),
        ([column("history", length=(2, 2))], None, "nested 2 deep, and those of the column are"),
        ([column("history", mask="fixed"), "fixed"], None, "mask='fixed' is the name of another"),
        ({"a": HISTORY, "m": column("fixed", mask="m")}, None, "mask='m' is the name of another"),
        ([HISTORY, "history"], None, "named twice, and padded in one way only once"),
        (["id"], [column("label", mask="m")], "only inputs of the model have masks"),
        ([["id", HISTORY]], None, "feature_cols takes names of columns; got PaddedColumn"),
        ([column("nothing")], None, "there is no column 'nothing'"),
    ],
)
def test_what_cannot_be_padded_is_refused_before_anything_runs(
    rows: DataFrame, features: Any, labels: Any, told: str
) -> None:
    with pytest.raises(ColumnError) as caught:
        read_spec(rows, features, labels)
    cause, way = str(caught.value).splitlines()
    assert told in cause
    assert way


def test_masks_come_after_their_columns_or_by_their_names(rows: DataFrame) -> None:
    feature = column("history", mask="m")
    by_position = read_spec(rows, [feature, "id"])
    assert [one.name for one in by_position.features] == ["history", "m", "id"]
    assert [one.name for one in by_position.columns] == ["history", "id"]
    by_name = read_spec(rows, {"h": feature, "n": "id"}, column("label", pad=-1))
    assert by_name.feature_keys == ("h", "m", "n")
    assert column_names(by_name.features, by_name.feature_keys) == {
        "h": column("history", pad=0.0, mask="m"),
        "n": "id",
    }
    assert column_names(by_name.labels, None) == [column("label", pad=-1)]


def test_predict_before_any_training_needs_a_length(rows: DataFrame) -> None:
    estimator = FakeEstimator.of(linear(4))
    with pytest.raises(ColumnError) as caught:
        estimator.predict(rows, [column("history")])
    cause, way = str(caught.value).splitlines()
    assert "nothing tells predict to which length column 'history' is padded" in cause
    call = re.search(r"column\(.*?\)", way)[0].replace("50, ...", "4")
    assert estimator.predict(rows, [eval(call)]).count() == 210


@pytest.mark.classic("a server's log is its own")
def test_a_task_tells_once_that_it_cuts(rows: DataFrame, capfd: Any) -> None:
    estimator = trained(rows, column("history", length=3), width=3)
    capfd.readouterr()
    estimator.predict(rows.coalesce(1), None).collect()
    told = [line for line in capfd.readouterr().err.splitlines() if "predict keeps" in line]
    assert len(told) == 1
    assert "column 'history' has arrays of 6 elements, and the model takes 3" in told[0]
    assert logging.getLogger("zoo.orca").propagate
