"""Mistakes with the session, its rows, arguments and files, each as small as it can be."""

import sys
import threading
from contextlib import contextmanager
from typing import Any

import numpy as np
from pyspark.sql import functions as F

from tests.messages.table import case
from tests.messages.world import NO_FRAMEWORK, World
from zoo.orca import OrcaContext, init_orca_context

WITHOUT = (NO_FRAMEWORK,)


@contextmanager
def setting(world: World, key: str, value: str) -> Any:
    """Set one of the session's settings for a while."""
    world.spark.conf.set(key, value)
    try:
        yield
    finally:
        world.spark.conf.unset(key)


# Columns.


@case("a feature column that is not there")
def _(world: World) -> Any:
    return world.fit(feature_cols=["user_id"])


@case("a label column that is not there")
def _(world: World) -> Any:
    return world.fit(label_cols=["lable"])


@case("no feature columns")
def _(world: World) -> Any:
    return world.fit(feature_cols=None)


@case("a timestamp as a feature")
def _(world: World) -> Any:
    return world.fit(feature_cols=["seen"])


@case("strings as a feature", frameworks=("torch",))
def _(world: World) -> Any:
    return world.fit(feature_cols=["user"])


@case("an array as sample weight")
def _(world: World) -> Any:
    return world.fit(sample_weight_col="pair")


@case("validation data without the label")
def _(world: World) -> Any:
    return world.fit(validation_data=world.frame.drop("y"))


@case("predictions under the name of a column")
def _(world: World) -> Any:
    est = world.estimator()
    return est.predict(world.frame, feature_cols=["x"], output_cols=["label"])


# Rows.


@case("nulls in a feature")
def _(world: World) -> Any:
    return world.fit(data=world.frame.withColumn("x", F.expr("if(x = 3, null, x)")))


@case("arrays of different lengths")
def _(world: World) -> Any:
    ragged = world.frame.withColumn("pair", F.expr("if(x = 3, array(1.0D), pair)"))
    return world.fit(data=ragged, feature_cols=["pair"])


@case("no rows")
def _(world: World) -> Any:
    return world.fit(data=world.frame.where("x < 0"))


@case("a validation frame without rows")
def _(world: World) -> Any:
    return world.fit(validation_data=world.frame.where("x < 0"))


@case("text that is no number")
def _(world: World) -> Any:
    return world.fit(data=world.frame.withColumn("x", F.col("user").cast("double")))


@case("a Python function of the DataFrame that raises")
def _(world: World) -> Any:
    @F.udf("double")
    def cleaned(x):  # type: ignore[no-untyped-def]
        raise ValueError("no such currency: 'EURO'")

    return world.fit(data=world.frame.withColumn("x", cleaned("x")))


# Arguments.


@case("an array without a name")
def _(world: World) -> Any:
    return world.fit(data=np.array([[1.0, 2.0]]))


@case("a pandas frame with a missing value")
def _(world: World) -> Any:
    import pandas as pd

    return world.fit(data=pd.DataFrame({"x": [1.0, None], "y": [2.0, 3.0]}))


@case("a pandas frame with a time")
def _(world: World) -> Any:
    import pandas as pd

    return world.fit(data=pd.DataFrame({"x": pd.to_datetime(["2024-05-01"]), "y": [2.0]}))


@case("arrays of different numbers of rows")
def _(world: World) -> Any:
    return world.fit(data={"x": np.zeros(3), "y": np.zeros(2)})


@case("columns beside a data creator")
def _(world: World) -> Any:
    return world.fit(data=lambda config, batch_size: None)


@case("a path")
def _(world: World) -> Any:
    return world.fit(data="ratings.parquet")


@case("a stream, to fit")
def _(world: World) -> Any:
    stream = world.spark.readStream.format("rate").load()
    return world.fit(data=stream.selectExpr("double(value) as x", "double(value) as y"))


@case("a stream, to evaluate")
def _(world: World) -> Any:
    stream = world.spark.readStream.format("rate").load().selectExpr("double(value) as x", "1 as y")
    return world.estimator().evaluate(stream, feature_cols=["x"], label_cols=["y"])


@case("batch_size=0")
def _(world: World) -> Any:
    return world.fit(batch_size=0)


@case("epochs=0")
def _(world: World) -> Any:
    return world.fit(epochs=0)


@case("epochs=10.0")
def _(world: World) -> Any:
    return world.fit(epochs=10.0)


@case("shuffle=False")
def _(world: World) -> Any:
    return world.fit(shuffle=False)


@case("one callback, not a list")
def _(world: World) -> Any:
    return world.fit(callbacks=object())


@case("num_workers=0")
def _(world: World) -> Any:
    return world.estimator(num_workers=0)


@case("batch_size in config")
def _(world: World) -> Any:
    return world.estimator(config={"batch_size": 32})


@case("an engine that never was")
def _(world: World) -> Any:
    return world.estimator(backend="dask")


# Creators.


@case("a creator without a parameter", frameworks=("tf2", "keras"))
def _(world: World) -> Any:
    return world.estimator(lambda: None)


@case("a name in place of a creator", frameworks=("tf2", "keras"))
def _(world: World) -> Any:
    return world.estimator("resnet50")


@case("a creator that uses the session")
def _(world: World) -> Any:
    spark = world.spark

    def creator(config: Any) -> Any:
        return spark.table("vocabulary").count()

    return world.estimator(creator)


@case("a creator that uses a DataFrame")
def _(world: World) -> Any:
    ratings = world.frame

    def creator(config: Any) -> Any:
        return ratings.count()

    return world.estimator(creator)


@case("a creator that uses a lock deep inside")
def _(world: World) -> Any:
    class Cache:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    cache = Cache()

    def creator(config: Any) -> Any:
        return cache.lock

    return world.estimator(creator)


@case("an open file in config")
def _(world: World) -> Any:
    with open(__file__, "rb") as file:
        return world.estimator(config={"vocabulary": file})


@case("a creator that raises")
def _(world: World) -> Any:
    def creator(config: Any) -> Any:
        return config["embedding_size"]

    return world.fit(world.estimator(creator))


@case("a creator that raises, to predict")
def _(world: World) -> Any:
    def creator(config: Any) -> Any:
        return config["embedding_size"]

    return world.estimator(creator).predict(world.frame, feature_cols=["x"])


@case("a creator that imports what is not installed on the workers")
def _(world: World) -> Any:
    def creator(config: Any) -> Any:
        import lightning_without_thunder

        return lightning_without_thunder.model()

    return world.fit(world.estimator(creator))


@case("a creator that asks for the session inside a worker")
def _(world: World) -> Any:
    def creator(config: Any) -> Any:
        from zoo.orca import OrcaContext

        return OrcaContext.get_spark_session()

    return world.fit(world.estimator(creator))


# The cluster and its settings.


@case("more workers than slots")
def _(world: World) -> Any:
    return world.fit(world.estimator(num_workers=50))


@case("a framework that is not installed", sessions=("classic",))
def _(world: World) -> Any:
    package = {"tf2": "tensorflow", "keras": "jax", "torch": "torch"}[world.framework]
    before = {name: sys.modules.get(name) for name in (package,)}
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        return world.estimator()
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


@case("a Python without pyarrow for the workers", sessions=("classic",))
def _(world: World) -> Any:
    import venv

    venv.create(world.directory / "bare", symlinks=True)
    context = world.spark.sparkContext
    before, context.pythonExec = context.pythonExec, str(world.directory / "bare/bin/python3")
    try:
        return world.fit()
    finally:
        context.pythonExec = before


@case("a time that is none in a setting")
def _(world: World) -> Any:
    with setting(world, "spark.orca.heartbeat.timeout", "soon"):
        return world.fit()


@case("a size that is none in a setting")
def _(world: World) -> Any:
    with setting(world, "spark.orca.data.memory", "plenty"):
        return world.fit()


@case("a flag that is none in a setting")
def _(world: World) -> Any:
    with setting(world, "spark.orca.full.traceback", "yes"):
        return world.fit()


@case("a cluster mode that is not there", frameworks=WITHOUT)
def _(world: World) -> Any:
    return init_orca_context("kubernetes")


@case("an argument of init_orca_context that is not there", frameworks=WITHOUT)
def _(world: World) -> Any:
    return init_orca_context("local", core=4)


@case("a memory that is no size", frameworks=WITHOUT)
def _(world: World) -> Any:
    return init_orca_context("local", memory="2 GB")


@case("cores=0", frameworks=WITHOUT)
def _(world: World) -> Any:
    return init_orca_context("local", cores=0)


@case("a standalone cluster without its address", frameworks=WITHOUT)
def _(world: World) -> Any:
    return init_orca_context("standalone")


@case("an option of OrcaContext that cannot be", frameworks=WITHOUT)
def _(world: World) -> Any:
    OrcaContext.pandas_read_backend = "dask"


@case("the Ray context", frameworks=WITHOUT)
def _(world: World) -> Any:
    return OrcaContext.get_ray_context()


@case("a SparkContext over Spark Connect", frameworks=WITHOUT, sessions=("connect",))
def _(world: World) -> Any:
    return OrcaContext.get_spark_context()


# State.


@case("load of a file that is not there")
def _(world: World) -> Any:
    return world.estimator().load(str(world.directory / "nowhere"))


@case("load of something else")
def _(world: World) -> Any:
    path = world.directory / "ratings.csv"
    path.write_text("user,item\n1,2\n")
    return world.estimator().load(str(path))
