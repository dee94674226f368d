"""A store of MLflow's, and an estimator of each framework that a run has tracked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

FEATURES, LABELS = ["user", "price"], ["label"]
EPOCHS, BATCH = 2, 16


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real MLflow over SQLite, without a server; its files stay in this run's directory."""
    import mlflow

    directory = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{directory}/mlflow.db")
    made = mlflow.create_experiment("orca", artifact_location=(directory / "files").as_uri())
    mlflow.set_experiment(experiment_id=made)
    yield directory
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="session")
def purchases(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    """64 rows of two columns and a label, as files."""
    path = str(tmp_path_factory.mktemp("rows") / "purchases")
    rows = spark.range(0, 64, 1, 1).select(
        (F.col("id") % 7).cast("int").alias("user"),
        (F.rand(1) * 3).cast("float").alias("price"),
        ((F.col("id") % 7) / 7).cast("float").alias("label"),
    )
    rows.write.parquet(path)
    return spark.read.parquet(path)


def keras_2(config: dict[str, Any]) -> Any:
    from tensorflow import keras

    return _keras_model(keras, config)


def keras_3(config: dict[str, Any]) -> Any:
    import keras

    return _keras_model(keras, config)


def _keras_model(keras: Any, config: dict[str, Any]) -> Any:
    inputs = [keras.Input((1,), name=name) for name in FEATURES]
    hidden = keras.layers.Concatenate()([keras.layers.Dense(3)(one) for one in inputs])
    model = keras.Model(inputs, keras.layers.Dense(2, activation="sigmoid")(hidden))
    model.compile(keras.optimizers.Adam(config["rate"]), "mse", metrics=["mae"])
    return model


def torch_model(config: dict[str, Any]) -> Any:
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(2, 1)

        def forward(self, user: Any, price: Any) -> Any:
            return self.dense(torch.stack([user.float(), price], dim=1)).squeeze(1)

    return Model()


def _made(framework: str) -> Any:
    if framework == "pytorch":
        import torch

        from zoo.orca.learn.metrics import MAE
        from zoo.orca.learn.pytorch import Estimator

        return Estimator.from_torch(
            model=torch_model,
            optimizer=torch.optim.Adam,
            loss=torch.nn.MSELoss,
            metrics=MAE(),
            config={"lr": 0.01},
            num_workers=1,
        )
    if framework == "keras":
        from zoo.orca.learn.keras import Estimator as Keras3

        return Keras3.from_keras(
            model_creator=keras_3, config={"rate": 0.01}, keras_backend="jax", num_workers=1
        )
    from zoo.orca.learn.tf2 import Estimator as Keras2

    return Keras2.from_keras(model_creator=keras_2, config={"rate": 0.01}, num_workers=1)


@dataclass
class Tracked:
    """An estimator after one `fit` that MLflow and TensorBoard were told of."""

    framework: str
    est: Any
    stats: Any
    run: Any
    events: Path

    @property
    def model(self) -> str:
        """What MLflow calls the model that was logged."""
        return f"models:/{self.run.outputs.model_outputs[0].model_id}"


@pytest.fixture(scope="session", params=["tf2", "keras", "pytorch"])
def tracked(
    request: pytest.FixtureRequest,
    store: Path,
    purchases: DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> Tracked:
    import mlflow

    import zoo.orca.mlflow as orca

    est, events = _made(request.param), tmp_path_factory.mktemp("events")
    est.set_tensorboard(str(events), "shop")
    orca.autolog(log_input_examples=True)
    try:
        stats = est.fit(
            purchases,
            EPOCHS,
            batch_size=BATCH,
            verbose=0,
            feature_cols=FEATURES,
            label_cols=LABELS,
            validation_data=purchases.limit(20),
        )
    finally:
        orca.autolog(disable=True)
    run = mlflow.last_active_run()
    return Tracked(request.param, est, stats, mlflow.get_run(run.info.run_id), events)
