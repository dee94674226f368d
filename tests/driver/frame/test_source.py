"""From DataFrames to the workers' files, through a real barrier stage."""

import json
import re
from decimal import Decimal

import numpy as np
import pytest
from pyspark.ml.linalg import DenseMatrix, MatrixUDT, Vectors, VectorUDT
from pyspark.sql import functions as F
from pyspark.sql import types as T

from zoo.orca.driver.frame.source import prepare, read_spec
from zoo.orca.driver.predict import Answer, predict_lazily
from zoo.orca.errors import ColumnError
from zoo.orca.wire.faults import agree
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import ModelSpec, Placement, PredictJob
from zoo.orca.wire.messages.rows import TO_PEERS
from zoo.orca.wire.outputs import OutputSpec

pytestmark = pytest.mark.timeout(120)

WORKERS = 3


def spool_stage(frame, spec, validate=False):
    """Spool a prepared frame in a barrier stage; what each rank wrote and found, by rank."""

    def task(batches):
        import tempfile

        import pyarrow as pa
        from pyspark import BarrierTaskContext

        from zoo.orca.wire.faults import agree
        from zoo.orca.wire.features import fill_shapes
        from zoo.orca.worker.rows.dataset import open_rows
        from zoo.orca.worker.rows.spool import Spool

        context = BarrierTaskContext.get()
        with tempfile.TemporaryDirectory() as directory:
            spool = Spool(directory, spec, validate)
            for batch in batches:
                spool.add(batch)
            done = spool.finish()
            told = {
                "done": done.to_text(),
                "rows": {"train": done.train.rows},
                "data": {},
                "dtypes": {},
            }
            told["size"] = len(context.getTaskInfos())
            shapes, problem = agree(spec, [done])
            sets = {"train": done.train}
            if done.validation is not None:
                told["rows"]["validation"] = done.validation.rows
                sets["validation"] = done.validation
            for name, one in sets.items() if not problem else ():
                columns = open_rows(one.file, fill_shapes(spec, shapes))
                told["data"][name] = {n: plain(a) for n, a in columns.items()}
                told["dtypes"][name] = {n: str(a.dtype) for n, a in columns.items()}
        answer = {"rank": [context.partitionId()], "told": [json.dumps(told)]}
        schema = pa.schema([("rank", pa.int32()), ("told", pa.string())])
        yield pa.RecordBatch.from_pydict(answer, schema)

    def plain(array):
        array = np.asarray(array)
        if array.dtype == object:
            array = array.astype(str) if array.size == 0 else np.char.decode(array.astype("S"))
        return array.tolist()

    rows = frame.mapInArrow(task, "rank int, told string", barrier=True).collect()
    return [json.loads(row.told) for row in sorted(rows, key=lambda row: row.rank)]


def column_of(ranks, name, data="train"):
    """The values of a column over all ranks."""
    return [value for rank in ranks for value in rank["data"].get(data, {}).get(name, [])]


def run(df, columns, workers=WORKERS, seed=1):
    spec = read_spec(df, columns)
    return spool_stage(prepare(df, spec, workers, seed).frame, spec)


def numbers(spark, rows, partitions=4):
    return spark.range(0, rows, 1, partitions).select(F.col("id").alias("x"))


# -- what may be a column ---------------------------------------------------------------------

KINDS = [
    # SQL type, dtype, depth, values as Spark has them, values as the workers get them
    ("boolean", "bool", 0, [True, False], [True, False]),
    ("tinyint", "int32", 0, [-128, 127], [-128, 127]),
    ("smallint", "int32", 0, [-(2**15), 2**15 - 1], [-(2**15), 2**15 - 1]),
    ("int", "int32", 0, [-(2**31), 2**31 - 1], [-(2**31), 2**31 - 1]),
    ("bigint", "int64", 0, [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
    ("float", "float32", 0, [0.5, float("inf")], [0.5, float("inf")]),
    ("double", "float32", 0, [0.1, 1e300], [float(np.float32(0.1)), float("inf")]),
    ("decimal(38,4)", "float32", 0, [Decimal("0.1"), Decimal(10) ** 33], None),
    ("string", "string", 0, ["größe", ""], ["größe", ""]),
    ("binary", "string", 0, [b"ab", b""], ["ab", ""]),
    ("array<boolean>", "bool", 1, [[True, False], [False, False]], None),
    ("array<smallint>", "int32", 1, [[1, 2], [3, 4]], None),
    ("array<double>", "float32", 1, [[0.5, 1.5], [2.5, 3.5]], None),
    ("array<decimal(10,2)>", "float32", 1, [[Decimal("0.5")], [Decimal("1.5")]], [[0.5], [1.5]]),
    ("array<string>", "string", 1, [["a", "b"], ["c", "日"]], None),
    ("array<array<bigint>>", "int64", 2, [[[1, 2, 3]], [[4, 5, 6]]], None),
    ("array<array<array<float>>>", "float32", 3, [[[[1.0], [2.0]]], [[[3.0], [4.0]]]], None),
]


@pytest.mark.parametrize("ansi", [True, False])
def test_every_type_arrives_with_its_values(spark, ansi):
    schema = "k int, " + ", ".join(f"c{n} {kind[0]}" for n, kind in enumerate(KINDS))
    df = spark.createDataFrame([(row, *(k[3][row] for k in KINDS)) for row in (0, 1)], schema)
    names = df.columns
    spec = read_spec(df, names)
    for column, (_, dtype, depth, *_) in zip(spec.features[1:], KINDS, strict=True):
        assert (column.dtype, column.shape) == (dtype, (None,) * depth)
    spark.conf.set("spark.sql.ansi.enabled", ansi)
    try:
        ranks = spool_stage(prepare(df, spec, WORKERS, 1).frame, spec)
    finally:
        spark.conf.unset("spark.sql.ansi.enabled")
    order = column_of(ranks, "k")
    assert sorted(order) == [0, 1]
    for n, (kind, dtype, _, given, expected) in enumerate(KINDS):
        found = column_of(ranks, f"c{n}")
        wanted = [(expected or given)[row] for row in order]
        if dtype == "float32":
            wanted = np.array(wanted, np.float32).tolist()
        assert found == wanted, kind
        dtypes = {rank["dtypes"]["train"][f"c{n}"] for rank in ranks}
        assert dtypes == {"object" if dtype == "string" else dtype}


def test_vectors_dense_and_sparse(spark):
    rows = [
        (0, Vectors.dense([1.0, 0.0, 2.5])),
        (1, Vectors.sparse(3, [1], [7.0])),
        (2, Vectors.sparse(3, [], [])),
    ]
    df = spark.createDataFrame(rows, T.StructType().add("k", T.IntegerType()).add("v", VectorUDT()))
    ranks = run(df, ["k", "v"])
    found = dict(zip(column_of(ranks, "k"), column_of(ranks, "v"), strict=True))
    assert found == {0: [1.0, 0.0, 2.5], 1: [0.0, 7.0, 0.0], 2: [0.0, 0.0, 0.0]}


def problem_of(spec, ranks):
    """What all ranks say is wrong with the rows."""
    return agree(spec, [TO_PEERS.from_text(rank["done"]) for rank in ranks])[1]


def test_null_vectors_are_found_on_the_workers(spark):
    schema = T.StructType().add("k", T.IntegerType()).add("v", VectorUDT())
    df = spark.createDataFrame([(0, Vectors.dense([1.0])), (1, None)], schema)
    spec = read_spec(df, ["k", "v"])
    ranks = spool_stage(prepare(df, spec, WORKERS, 1).frame, spec)
    assert "'v' holds nulls: 1 of 2 rows, for example {'v': None, 'k': 1}" in problem_of(
        spec, ranks
    )


def test_nulls_and_ragged_arrays_are_found_on_the_workers(spark):
    rows = [(k, None if k % 10 == 0 else k, [1.0] * (2 + (k == 7))) for k in range(100)]
    df = spark.createDataFrame(rows, "k int, x int, v array<double>")
    spec = read_spec(df, ["k", "x", "v"])
    problem = problem_of(spec, spool_stage(prepare(df, spec, WORKERS, 1).frame, spec))
    assert "column 'x' holds nulls: 10 of 100 rows, for example {'x': None, 'k': " in problem
    assert "2 (99 rows) and 3 (1 row), for example {'v': [1.0, 1.0, 1.0], 'k': 7" in problem


REFUSED = {
    "timestamp": "timestamp'2024-01-02 03:04:05'",
    "timestamp_ntz": "timestamp_ntz'2024-01-02 03:04:05'",
    "date": "date'2024-01-02'",
    "map<string,int>": "map('a key', 1)",
    "map<int,float>": "map(1, 1.5f)",
    "struct<a:int,b:int>": "named_struct('a', 1, 'b', 2)",
    "interval day to second": "interval '1 02:03:04' day to second",
    "interval year to month": "interval '1-2' year to month",
    "void": "null",
    "interval": "make_interval(0, 0, 0, 3)",
    "variant": "parse_json('1.5')",
    "time(6)": "time'01:02:03'",
    "array<date>": "array(date'2024-01-02')",
    "array<struct<a:int>>": "array(named_struct('a', 1))",
}
#: These are mended in more than one line.
NOT_MENDED_BY_ONE_LINE = {"array<date>", "array<struct<a:int>>"}


@pytest.mark.parametrize("name", ["t", "odd. na`me"])
@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_type_names_what_mends_it(spark, kind, name):
    if kind.startswith("time("):
        if not hasattr(T, "TimeType"):
            pytest.skip("this Spark has no TIME type")
        spark.conf.set("spark.sql.timeType.enabled", True)
    df = spark.range(1).select(F.expr(REFUSED[kind]).alias(name))
    with pytest.raises(ColumnError, match="feature_cols: column .* has the type") as error:
        read_spec(df, [name])
    message = str(error.value)
    assert repr(name) in message
    assert f"type {kind}," in message
    if kind in NOT_MENDED_BY_ONE_LINE:
        assert "F.transform" in message
        return
    # The advice is run as it stands: it has to make a column that a model can take.
    code = re.search(r"df = (df\.withColumn\(.*\))$", message)[1]
    mended = eval(code, {"df": df, "F": F})
    changed = re.match(r"df\.withColumn\(('(?:[^'])*'|\"[^\"]*\")", code)[1]
    read_spec(mended, [eval(changed)])
    assert mended.collect()[0][-1] is not None


@pytest.mark.parametrize("role", ["feature_cols", "label_cols"])
def test_a_map_names_the_call_by_name(spark, role):
    """Of a model that takes or returns a dict: the advice is taken, the call and the column."""
    df = spark.range(1).select("id", F.expr("map('a key', array(1f, 2f))").alias("m"))
    given = {"feature_cols": "id", role: "m"}
    with pytest.raises(ColumnError, match=r"'m' has the type map<string,array<float>>") as error:
        read_spec(df, **given)
    message = str(error.value)
    call = eval(re.search(rf"{role}=(\{{.*?\}})", message)[1])
    code = re.search(r"df = (df\.withColumn\(.*\))$", message)[1]
    spec = read_spec(eval(code, {"df": df, "F": F}), **{**given, role: call})
    keys, columns = (
        (spec.feature_keys, spec.features)
        if role == "feature_cols"
        else (spec.label_keys, spec.labels)
    )
    assert keys == ("a key",) and (columns[0].dtype, columns[0].shape) == ("float32", (None,))


def test_other_user_defined_types_are_refused(spark):
    df = spark.createDataFrame([(DenseMatrix(1, 1, [1.0]),)], T.StructType().add("m", MatrixUDT()))
    with pytest.raises(ColumnError, match="'m' has the type MatrixUDT"):
        read_spec(df, "m")


# -- how columns are named --------------------------------------------------------------------


def test_columns_by_position_by_name_and_alone(spark):
    df = spark.createDataFrame([(1, 2.0, 3)], "a int, b double, c bigint")
    spec = read_spec(df, ("a", "b"), "c", "b")
    assert [column.name for column in spec.features] == ["a", "b"]
    assert [column.name for column in spec.labels] == ["c"]
    assert spec.weight.name == "b"
    assert spec.feature_keys is None
    named = read_spec(df, {"in1": "b", "in2": "a"}, {"out": "c"})
    assert (named.feature_keys, named.label_keys) == (("in1", "in2"), ("out",))
    assert [column.name for column in named.features] == ["b", "a"]
    assert read_spec(df, "a").labels == ()
    assert read_spec(df, "a", []).label_keys is None


@pytest.mark.parametrize("features", [None, [], (), {}])
def test_features_must_be_given(spark, features):
    with pytest.raises(ColumnError, match=r"feature_cols must be given.*\n.*'id'"):
        read_spec(spark.range(1), features)


def test_a_missing_column_names_those_that_are_there(spark):
    df = spark.createDataFrame([(1, 2)], "user_id int, item_id int")
    with pytest.raises(ColumnError) as error:
        read_spec(df, ["user_id"], ["iten_id"])
    assert str(error.value).startswith(
        "label_cols: there is no column 'iten_id'\nDid you mean 'item_id'"
    )
    assert str(error.value).endswith("The DataFrame has the columns 'user_id', 'item_id'")


@pytest.mark.parametrize("wrong", [[1], [[["a"]]], {"in": [2]}, {1: "a"}])
def test_what_is_no_name_is_refused(spark, wrong):
    with pytest.raises(ColumnError, match="feature_cols takes names of columns"):
        read_spec(spark.createDataFrame([(1,)], "a int"), wrong)


def test_names_follow_sparks_rule_for_case(spark):
    df = spark.createDataFrame([(1, 2)], "Age int, x int")
    assert read_spec(df, ["age"]).features[0].name == "Age"
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        with pytest.raises(ColumnError, match="no column 'age'"):
            read_spec(df, ["age"])
        both = df.withColumn("age", F.lit(3))
        assert column_of(run(both, ["age"]), "age") == [3]
    finally:
        spark.conf.unset("spark.sql.caseSensitive")


def test_a_name_that_means_two_columns_is_refused(spark):
    df = spark.range(3).join(spark.range(3), how="cross").withColumn("y", F.lit(1))
    with pytest.raises(ColumnError, match="2 columns named 'id'"):
        read_spec(df, ["id"])
    assert column_of(run(df, ["y"]), "y") == [1] * 9


def test_odd_names_work(spark):
    names = ["a.b", "a b", "a`b", "größe", "c0", "1", "validation", "select", "a,b", "\n"]
    df = spark.createDataFrame([tuple(range(len(names)))]).toDF(*names)
    spec = read_spec(df, names)
    ranks = spool_stage(prepare(df, spec, 2, 1, df).frame, spec, validate=True)
    for index, name in enumerate(names):
        assert column_of(ranks, name) == [index]
        assert column_of(ranks, name, "validation") == [index]


def test_a_column_in_several_roles_travels_once(spark):
    df = numbers(spark, 5)
    spec = read_spec(df, ["x", "x"], ["x"])
    assert prepare(df, spec, 1, 1).frame.columns == ["c0", "origin", "place"]


@pytest.mark.parametrize(
    ("kind", "way"), [("string", "StringIndexer"), ("array<string>", "CountVectorizer")]
)
def test_a_framework_without_strings_refuses_them(spark, kind, way):
    df = spark.createDataFrame([], f"s {kind}")
    with pytest.raises(ColumnError, match=rf"'s' holds strings, and PyTorch .*\n.*{way}\("):
        read_spec(df, ["s"], numbers_only="PyTorch")


def test_bytes_are_called_bytes_and_what_decodes_them_does(spark):
    pictures = [bytes([0, 51, 255]), bytes([102, 0, 1])]
    df = spark.createDataFrame([(one,) for one in pictures], "picture binary").coalesce(1)
    with pytest.raises(ColumnError, match="column 'picture' is binary: bytes, as") as caught:
        read_spec(df, ["picture"], numbers_only="PyTorch")
    cause, way = str(caught.value).split("\n")
    assert "PyTorch has no tensors" in cause
    lines = re.fullmatch(r"Decode it: (decode = .*); (df = .*?) makes numbers.*", way).groups()
    there = {"F": F, "df": df}
    for line in lines:
        exec(line, there)
    assert read_spec(there["df"], ["picture"], numbers_only="PyTorch").features[0].shape == (None,)
    rows = [row.picture for row in there["df"].collect()]
    np.testing.assert_array_equal(
        np.array(rows, np.float32), np.array([[*one] for one in pictures], np.float32) / 255
    )


def test_bytes_are_known_to_be_bytes_after_a_state_was_saved(spark):
    df = spark.createDataFrame([], "b binary, s string, bs array<binary>, n int")
    spec = read_spec(df, ["b", "s", "bs", ["b", "b"], "n"])
    again = FeatureSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert [one.binary for one in again.features] == [True, False, True, True, False]


@pytest.mark.parametrize("kind", ["string", "boolean", "array<float>", "date"])
def test_a_weight_is_one_number(spark, kind):
    df = spark.createDataFrame([], f"x int, w {kind}")
    with pytest.raises(ColumnError, match="the sample weights: column 'w'"):
        read_spec(df, ["x"], None, "w")


def test_weights_of_single_outputs(spark):
    df = spark.createDataFrame([], "x int, w double, v int")
    spec = read_spec(df, ["x"], None, {"first": "w", "second": "v"})
    assert spec.weight is None
    assert [(output, column.name) for output, column in spec.output_weights] == [
        ("first", "w"),
        ("second", "v"),
    ]
    assert [column.name for column in spec.columns] == ["x", "w", "v"]
    with pytest.raises(ColumnError, match="the sample weights: there is no column 'u'"):
        read_spec(df, ["x"], None, {"first": "u"})


@pytest.mark.parametrize("given", [{}, {"first": 3}, ["w"], 7, {3: "w"}])
def test_weights_of_another_kind_are_refused(spark, given):
    df = spark.createDataFrame([], "x int, w double")
    with pytest.raises(ColumnError, match="Write sample_weight_col='weight', or {'output'"):
        read_spec(df, ["x"], None, given)
    with pytest.raises(ColumnError, match="Write sample_weight_col='weight'$"):
        read_spec(df, ["x"], None, {"first": "w"}, weights_by_output=False)


# -- placement --------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, WORKERS])
@pytest.mark.parametrize("partitions", [1, 4, 1000])
def test_every_row_once_on_exactly_so_many_workers(spark, workers, partitions):
    df = numbers(spark, 2000, partitions)
    ranks = run(df, ["x"], workers)
    assert [rank["size"] for rank in ranks] == [workers] * workers
    assert sorted(column_of(ranks, "x")) == list(range(2000))
    assert min(rank["rows"]["train"] for rank in ranks) > 2000 // workers * 0.8


def frames(spark):
    base = numbers(spark, 300)
    other = base.select(F.col("x").alias("y"), (F.col("x") % 7).alias("z")).repartition(5)
    return {
        "join": base.join(other.hint("merge"), F.col("x") == F.col("y")).select("x", "z"),
        "random lineage": base.where(F.rand() < 2).withColumn("r", F.rand()),
        "grouped": base.unionAll(base).groupBy("x").count(),
        "sorted": base.orderBy(F.desc("x")),
        "coalesced": base.coalesce(1),
        "empty partitions": base.repartition(50, F.lit(1)),
        "limited": base.limit(300),
        "python": base.mapInPandas(lambda batches: batches, base.schema),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "join",
        "random lineage",
        "grouped",
        "sorted",
        "coalesced",
        "empty partitions",
        "limited",
        "python",
    ],
)
def test_whatever_the_frame_comes_from(spark, kind):
    ranks = run(frames(spark)[kind], ["x"])
    assert len(ranks) == WORKERS
    assert sorted(column_of(ranks, "x")) == list(range(300))


def test_a_cached_frame(spark):
    df = numbers(spark, 300).cache()
    try:
        assert df.count() == 300
        assert sorted(column_of(run(df, ["x"]), "x")) == list(range(300))
    finally:
        df.unpersist()


@pytest.mark.parametrize("rows", [1, 2])
def test_fewer_rows_than_workers(spark, rows):
    ranks = run(numbers(spark, rows), ["x"])
    assert len(ranks) == WORKERS
    assert sorted(column_of(ranks, "x")) == list(range(rows))


def test_zero_rows_make_tasks_without_rows_or_no_task_at_all(spark):
    """Spark may drop a stage that has nothing to read: whoever runs it has to say so."""
    made = spark.createDataFrame([], "x int").groupBy("x").count()
    for df in (numbers(spark, 5).where("x < 0"), made):
        assert sum(rank["rows"]["train"] for rank in run(df, ["x"])) == 0


def test_placement_is_the_seeds(spark):
    df = numbers(spark, 500).cache()
    try:
        one, same, other = (
            [rank["data"]["train"]["x"] for rank in run(df, ["x"], seed=seed)] for seed in (1, 1, 2)
        )
    finally:
        df.unpersist()
    assert one == same
    assert [set(rank) for rank in one] != [set(rank) for rank in other]


def test_each_workers_share_is_a_random_one(spark):
    """Data often come sorted by their label: no worker may get one label only."""
    ranks = run(numbers(spark, 3000).orderBy("x"), ["x"])
    for rank in ranks:
        assert abs(np.mean(rank["data"]["train"]["x"]) - 1500) < 120


# -- validation -------------------------------------------------------------------------------


def test_validation_rows_travel_in_the_same_frame(spark):
    train, validation = numbers(spark, 200), numbers(spark, 50).withColumn("more", F.lit("a"))
    spec = read_spec(train, ["x"])
    ranks = spool_stage(prepare(train, spec, WORKERS, 1, validation).frame, spec, validate=True)
    assert sorted(column_of(ranks, "x")) == list(range(200))
    assert sorted(column_of(ranks, "x", "validation")) == list(range(50))


@pytest.mark.parametrize(("train_rows", "validation_rows"), [(0, 5), (5, 0)])
def test_one_data_set_without_rows(spark, train_rows, validation_rows):
    train = spark.createDataFrame([(n,) for n in range(train_rows)], "x bigint")
    validation = numbers(spark, 5).where(F.col("x") < validation_rows)
    spec = read_spec(train, ["x"])
    ranks = spool_stage(prepare(train, spec, WORKERS, 1, validation).frame, spec, validate=True)
    assert sum(rank["rows"]["train"] for rank in ranks) == train_rows
    assert sum(rank["rows"]["validation"] for rank in ranks) == validation_rows


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("bigint", "int"),
        ("double", "int"),
        ("float", "bigint"),
        ("float", "decimal(10,2)"),
        ("int", "tinyint"),
        ("string", "binary"),
        ("array<double>", "array<int>"),
    ],
)
def test_validation_types_that_widen(spark, train, validation):
    schema = f"x {train}"
    df = spark.createDataFrame([], schema)
    value = "array(1)" if "array" in train else "'1'" if train == "string" else "1"
    other = spark.range(1).select(F.expr(f"cast({value} as {validation}) as x"))
    spec = read_spec(df, ["x"])
    ranks = spool_stage(prepare(df, spec, 1, 1, other).frame, spec, validate=True)
    assert column_of(ranks, "x", "validation") in ([1], [[1]], ["1"])


@pytest.mark.parametrize(
    ("train", "validation", "advice"),
    [
        ("int", "bigint", "F.col('x').cast('int')"),
        ("int", "double", "F.col('x').cast('int')"),
        ("float", "string", "F.col('x').cast('float')"),
        ("boolean", "int", "F.col('x').cast('boolean')"),
        ("array<int>", "int", "array of int32"),
        ("float", "date", "F.unix_date('x')"),
    ],
)
def test_validation_types_that_do_not_fit(spark, train, validation, advice):
    df = spark.createDataFrame([], f"x {train}")
    other = spark.createDataFrame([], f"x {validation}")
    with pytest.raises(ColumnError, match="^validation_data: column 'x' has the type") as error:
        prepare(df, read_spec(df, ["x"]), 1, 1, other)
    assert advice in str(error.value)


def test_validation_without_the_column(spark):
    df = numbers(spark, 1)
    with pytest.raises(ColumnError, match="^validation_data: there is no column 'x'"):
        prepare(df, read_spec(df, ["x"]), 1, 1, spark.range(1))


@pytest.fixture
def looks(spark, monkeypatch):
    """The frames whose schema is asked for: over Spark Connect each time it is made anew."""
    kind, found = type(spark.range(1)), []
    schema = kind.__dict__["schema"]
    read = schema.fget if isinstance(schema, property) else schema.func

    def counted(self):
        found.append(self)
        return read(self)

    monkeypatch.setattr(kind, "schema", property(counted))
    return found


def test_a_schema_is_read_once_for_all_columns(spark, looks):
    names = [f"x{index}" for index in range(20)]
    df = spark.range(3).select(*(F.col("id").alias(name) for name in names))
    spec = read_spec(df, [names[:5], *names[5:15]], names[15:19], names[19])
    assert looks == [df]
    looks.clear()
    other = df.limit(2)
    prepare(df, spec, 2, 1, other)
    assert looks == [df, other]
    looks.clear()
    outputs = (OutputSpec(name="prediction", dtype="float32", row_shape=()),)
    model = ModelSpec(framework="fake", creator=b"", config=b"")
    job = PredictJob(model=model, columns=spec, state=None, seed=0, outputs=outputs)
    predict_lazily(df, job, ["prediction"], Answer())
    # Once for the columns that pass, once for the model's; Spark itself looks at frames of its own.
    assert looks.count(df) == 2


@pytest.mark.classic("only there does a plan tell its partitions")
def test_how_rows_are_placed_is_told_with_their_frame(spark):
    df = spark.range(0, 40, 1, 2)
    spec = read_spec(df, ["id"])
    assert prepare(df, spec, 2, 1).placement is Placement.AS_THEY_LAY
    for placed in (prepare(df, spec, 3, 1), prepare(df, spec, 2, 1, shuffle=True)):
        assert placed.placement is Placement.AT_RANDOM
    assert prepare(df, spec, 2, 1, df).placement is Placement.AT_RANDOM
