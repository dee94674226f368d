"""A user's program, whole: what it leaves on the disk is looked at once it has ended.

Arguments: a directory for everything, and the framework.
"""

import sys
import tempfile
from pathlib import Path


def main(directory: Path, framework: str) -> None:
    from pyspark.sql import functions as F

    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

    local = directory / "local"
    init_orca_context(
        "local",
        cores=2,
        memory="1g",
        conf={
            "spark.local.dir": str(local),
            "spark.ui.enabled": "false",
            "spark.orca.class.archive": "false",
            "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={directory / 'java'}",
        },
    )
    spark = OrcaContext.get_spark_session()
    rows = spark.range(200).select(F.rand(1).alias("x"), F.rand(2).alias("y")).repartition(2)
    if framework == "fake":
        from tests.fake_estimator import FakeEstimator

        estimator = FakeEstimator.of(littering, 2)
        estimator.fit(rows, epochs=1)
        estimator.evaluate(rows)
        estimator.predict(rows).collect()
    else:
        from zoo.orca.learn.tf2 import Estimator

        estimator = Estimator.from_keras(model_creator=keras_model, num_workers=2)
        columns = {"feature_cols": ["x"], "label_cols": ["y"]}
        for _ in range(2):
            estimator.fit(rows, verbose=0, **columns)
        between = [path.name for path in local.rglob("__autograph*")]
        print("between jobs:", between, flush=True)
        estimator.evaluate(rows, verbose=0, **columns)
        estimator.predict(rows, feature_cols=["x"]).collect()
    stop_orca_context()


def littering(config):
    """A creator that leaves files and directories behind wherever tempfile says."""
    from zoo.orca.frameworks.fake import LinearModel

    handle, _ = tempfile.mkstemp()
    with open(handle, "w") as file:
        file.write("left")
    Path(tempfile.mkdtemp(), "file").write_text("left")
    return LinearModel(features=1)


def keras_model(config):
    """TensorFlow writes Python files for steps that it translates."""
    from tensorflow import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
