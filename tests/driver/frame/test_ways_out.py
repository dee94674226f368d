"""What an error about columns or rows says to write is taken from its text, run, and mends."""

import re
from typing import Any

import numpy as np
import pytest
from pyspark.ml.feature import CountVectorizer, StringIndexer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.frame.source import prepare, read_spec
from zoo.orca.errors import ColumnError, DataError, ModelError
from zoo.orca.frameworks.common.class_labels import check_class_labels
from zoo.orca.frameworks.common.input_shapes import Input, check_input

pytestmark = pytest.mark.timeout(300)

#: A column's type, values that are sound, and values that are not.
NULLS = {
    "double": ("double", ["1.5", "2.5"], ["null"]),
    "array<double>": ("v", ["array(1.0D, 2.0D)"], ["array(1.0D, null)"]),
    "array<array<double>>": (
        "m",
        ["array(array(1.0D), array(2.0D))"],
        ["array(array(1.0D), array(double(null)))", "array(array(1.0D), null)"],
    ),
    "array<array<array<double>>>": (
        "deep",
        ["array(array(array(1.0D)), array(array(2.0D)))"],
        [
            "array(array(array(1.0D)), array(array(double(null))))",
            "array(array(array(1.0D)), array(array<double>(null)))",
            "array(array(array(1.0D)), null)",
        ],
    ),
}


def rows_of(spark: SparkSession, kind: str, name: str, values: list[str]) -> DataFrame:
    """A row for each of the values; y is the label."""
    texts = [f"cast({value} as {kind})".replace("array<double>(null)", "null") for value in values]
    frames = [spark.range(1).select(F.expr(t).alias(name), F.lit(1.0).alias("y")) for t in texts]
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.union(frame)
    return whole


def second_line(call: Any, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value).splitlines()[1]


def mended(way: str, df: DataFrame) -> DataFrame:
    """Run what a line says to write."""
    code = re.search(r"(df\.(?:na|where).*), or fill them", way)[1]
    return eval(code, {"df": df, "F": F})


@pytest.mark.parametrize("name", ["c", "odd. na`me"])
@pytest.mark.parametrize("kind", NULLS)
def test_rows_with_nulls_are_dropped_as_it_says(spark: SparkSession, kind: str, name: str) -> None:
    _, sound, unsound = NULLS[kind]
    estimator = FakeEstimator.of(linear(2 if "array" in kind else 1))
    for bad in unsound:
        df = rows_of(spark, kind, name, [*sound, bad])
        way = second_line(lambda frame=df: estimator.fit(frame, [name]), DataError)
        left = mended(way, df)
        assert left.count() == len(sound)
        estimator.fit(left, [name])


def test_rows_with_nulls_in_a_stack_are_dropped_as_it_says(spark: SparkSession) -> None:
    df = spark.sql(
        "select a, `b c`, v, 1.0D as y from values (1.0D, 2, array(3.0D)), "
        "(null, 2, array(3.0D)), (1.0D, null, array(3.0D)), (1.0D, 2, null), "
        "(1.0D, 2, array(double(null))) as t(a, `b c`, v)"
    )
    for stack, left in ((["a", "b c"], 3), (["a", "v", "b c"], 1), (["v"], 3)):
        estimator = FakeEstimator.of(linear(len(stack)))
        way = second_line(lambda e=estimator, s=stack: e.fit(df, [s]), DataError)
        sound = mended(way, df)
        assert sound.count() == left
        estimator.fit(sound, [stack])


@pytest.mark.parametrize("name", ["w", "odd. na`me"])
@pytest.mark.parametrize(
    ("value", "number"), [("'2.5'", 2.5), ("true", 1.0), ("array(2.5D, 1D)", 2.5)]
)
def test_a_weight_is_made_a_number(spark: SparkSession, value: str, number: float, name: str):
    df = spark.range(1).select(F.col("id").alias("x"), F.expr(value).alias(name))
    way = second_line(lambda: read_spec(df, ["x"], ["x"], name), ColumnError)
    there: dict[str, Any] = {"df": df, "F": F}
    exec(way.removeprefix("Make one of it: "), there)
    assert read_spec(there["df"], ["x"], ["x"], name).weight is not None
    assert there["df"].first()[name] == number


@pytest.mark.parametrize("name", ["a", "odd. na`me"])
@pytest.mark.parametrize(("train", "other"), [("1", "2.0D"), ("1L", "'2'"), ("true", "2")])
def test_validation_data_is_cast(spark: SparkSession, train: str, other: str, name: str) -> None:
    df, there = (spark.range(1).select(F.expr(one).alias(name)) for one in (train, other))
    spec = read_spec(df, [name])
    way = second_line(lambda: prepare(df, spec, 1, 1, there), ColumnError)
    cast = eval(way.removeprefix("Cast it there: "), {"df": there, "F": F})
    assert prepare(df, spec, 1, 1, cast).frame.count() == 2


@pytest.mark.parametrize("name", ["m", "odd. na`me"])
@pytest.mark.parametrize(
    "value", ["array(array(1.0D), array(2.0D))", "array(array(array(1), array(2)))"]
)
def test_arrays_of_arrays_are_flattened(spark: SparkSession, value: str, name: str) -> None:
    df = spark.range(1).select(F.col("id").alias("n"), F.expr(value).alias(name))
    way = second_line(lambda: read_spec(df, [["n", name]]), ColumnError)
    there: dict[str, Any] = {"df": df, "F": F}
    exec(way.partition("flatten it: ")[2], there)
    read_spec(there["df"], [["n", name]])
    assert there["df"].first()[name] == [1, 2]
    # For an input of one axis it is the same.
    column = read_spec(df, [name]).features[0]
    row = Input(name="input_1", shape=(None, 2), dtype="float32")
    way = second_line(lambda: check_input(column, row), ModelError)
    there = {"df": df, "F": F}
    exec(way.removeprefix("Flatten it: "), there)
    check_input(read_spec(there["df"], [name]).features[0], row)


@pytest.mark.parametrize("name", ["n", "odd. na`me"])
@pytest.mark.parametrize(("value", "axes"), [("7", ()), ("array(7, 8)", (2,))])
def test_numbers_are_made_strings(spark: SparkSession, value: str, axes: tuple, name: str) -> None:
    df = spark.range(1).select(F.expr(value).alias(name))
    taken = Input(name="input_1", shape=(None, *axes), dtype="string")
    way = second_line(lambda: check_input(read_spec(df, [name]).features[0], taken), ModelError)
    there: dict[str, Any] = {"df": df, "F": F}
    exec(way.removeprefix("Make them strings: "), there)
    check_input(read_spec(there["df"], [name]).features[0], taken)
    assert there["df"].first()[name] in ("7", ["7", "8"])


@pytest.mark.parametrize("name", ["b", "odd. na`me"])
@pytest.mark.parametrize(
    ("value", "given", "numbers"),
    [
        ("X'00FF'", None, [0.0, 1.0]),
        ("array(X'00FF', X'FF00')", None, [[0.0, 1.0], [1.0, 0.0]]),
        ("X'00FF'", 2, [0.0, 1.0]),
    ],
)
def test_bytes_are_decoded(spark: SparkSession, value: str, given: Any, numbers: list, name: str):
    df = spark.range(1).select(F.expr(value).alias(name), F.expr(value).alias("other"))
    columns = [[name, "other"]] if given else [name]
    way = second_line(lambda: read_spec(df, columns, numbers_only="PyTorch"), ColumnError)
    code = re.fullmatch(r"Decode it: (.*) makes numbers of raw pixels; .*", way)[1]
    there: dict[str, Any] = {"df": df, "F": F}
    exec(code, there)
    read_spec(there["df"], columns, numbers_only="PyTorch")
    row = there["df"].first()
    assert row[name] == numbers and (not given or row["other"] == numbers)


@pytest.mark.parametrize(
    ("columns", "made"),
    [(["s"], ["s_index"]), (["words"], ["words_counts"]), ([["s", "t"]], [["s_index", "t_index"]])],
)
def test_strings_become_numbers(spark: SparkSession, columns: list, made: list) -> None:
    df = spark.sql("select 'a' as s, 'b' as t, array('a', 'b') as words")
    way = second_line(lambda: read_spec(df, columns, numbers_only="PyTorch"), ColumnError)
    code = way.partition("for example with pyspark.ml.feature.")[2]
    stage = eval(code, {"StringIndexer": StringIndexer, "CountVectorizer": CountVectorizer})
    found = stage.fit(df).transform(df)
    read_spec(found, made, numbers_only="PyTorch")


def test_strings_beside_numbers_in_a_stack_become_numbers(spark: SparkSession) -> None:
    df = spark.sql("select 'a' as s, 1 as n")
    way = second_line(lambda: read_spec(df, [["s", "n"]]), ColumnError)
    code = way.partition("numbers with pyspark.ml.feature.")[2]
    found = eval(code, {"StringIndexer": StringIndexer}).fit(df).transform(df)
    read_spec(found, [["s_index", "n"]])


@pytest.mark.parametrize("name", ["t", "odd. na`me"])
def test_elements_of_arrays_are_converted(spark: SparkSession, name: str) -> None:
    df = spark.range(1).select(F.expr("array(date'2024-01-02')").alias(name))
    way = second_line(lambda: read_spec(df, [name]), ColumnError)
    start = re.search(r"(F\.transform\(.*), \.\.\.\)", way)[1]
    value = eval(f"{start}, F.unix_date)", {"F": F})
    read_spec(df.withColumn(name, value), [name])
    found = df.select(F.explode(eval(start.partition("(")[2], {}))).first()
    assert str(found[0]) == "2024-01-02"


@pytest.mark.parametrize("name", ["y", "odd. na`me"])
@pytest.mark.parametrize(
    ("value", "loss", "there", "start"),
    [
        ("2.0D", "MSELoss", (1,), "Let forward return .*: "),
        ("array(2)", "CrossEntropyLoss", (3,), "Take it out of its array: "),
    ],
)
def test_labels_of_a_loss_get_its_shape(
    spark: SparkSession, value: str, loss: str, there: tuple, start: str, name: str
) -> None:
    torch = pytest.importorskip("torch")
    from zoo.orca.frameworks.torch.training.losses import check_shapes

    df = spark.range(2).select(F.expr(value).alias(name))
    function, output = getattr(torch.nn, loss)(), torch.zeros(2, *there)

    def check(frame: DataFrame) -> None:
        target = torch.tensor([row[name] for row in frame.collect()])
        check_shapes(function, output, target, name)

    way = second_line(lambda: check(df), ModelError)
    check(eval(re.sub(f"^{start}", "", way), {"df": df, "F": F}))


@pytest.mark.parametrize("name", ["y", "odd. na`me"])
def test_numbers_that_are_measured_become_classes(spark: SparkSession, name: str) -> None:
    df = spark.range(3).select(F.expr("id + 0.4D").alias(name))

    def check(frame: DataFrame) -> None:
        check_class_labels(name, np.array([row[name] for row in frame.collect()]), 3)

    way = second_line(lambda: check(df), DataError)
    value = re.search(r"(F\.round\(.*\)) or Bucketizer", way)[1]
    check(df.withColumn(name, eval(value, {"F": F})))
