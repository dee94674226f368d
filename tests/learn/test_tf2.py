"""`zoo.orca.learn.tf2.Estimator` through Spark: a user's day, with Keras 2 and with Keras 3."""

import time
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml.linalg import DenseVector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from zoo.orca.errors import DataError, InvalidInputError, ModelError, StateError
from zoo.orca.learn.tf2 import Estimator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FEATURES, LABELS = ["user", "item"], ["label"]
LIMIT_SECONDS = 15.0


@pytest.fixture(scope="module")
def ratings(spark: SparkSession) -> DataFrame:
    """2,003 ratings of 40 users and 30 items."""
    return (
        spark.range(2003)
        .select(
            (F.rand(1) * 40).cast("int").alias("user"),
            (F.rand(2) * 30).cast("long").alias("item"),
        )
        .withColumn("label", (F.col("user") + F.col("item")) % 5)
        .cache()
    )


def ncf(config):
    """The quick start's model, smaller; its `tf.concat` on Keras tensors needs Keras 2."""
    import tensorflow as tf
    from tensorflow import keras

    user = keras.layers.Input(dtype=tf.int32, shape=(None,))
    item = keras.layers.Input(dtype=tf.int32, shape=(None,))
    factors = [keras.layers.Embedding(n, 8)(x) for n, x in ((40, user), (30, item))]
    hidden = tf.concat(factors, axis=-1)
    hidden = keras.layers.Dense(16, activation="relu")(hidden)
    outputs = keras.layers.Dense(5, activation="softmax")(hidden)
    model = keras.Model(inputs=[user, item], outputs=outputs)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def flat(config):
    """A model of either Keras whose output has rank 2; built by its first batch."""
    if config["keras"] == 2:
        import tf_keras as keras
    else:
        import keras
    model = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
    model.compile(config.get("optimizer", "adam"), "mse", metrics=["mae"])
    return model


@pytest.fixture(scope="module")
def trained(ratings: DataFrame):
    """The quick start's model after two epochs on two workers, and its stats."""
    est = Estimator.from_keras(model_creator=ncf, num_workers=2)
    stats = est.fit(
        ratings,
        epochs=2,
        batch_size=100,
        verbose=0,
        validation_data=ratings.limit(500),
        feature_cols=FEATURES,
        label_cols=LABELS,
    )
    return est, stats


def test_fit_returns_orcas_names(trained) -> None:
    est, stats = trained
    assert est.num_workers == 2
    names = {"train_loss", "train_accuracy", "train_val_loss", "train_val_accuracy"}
    assert set(stats) == names and stats[0] is stats
    with pytest.raises(KeyError):
        stats[1]
    assert set(stats.history) == {name.removeprefix("train_") for name in names}
    assert stats.history["loss"][1] < stats.history["loss"][0]


def test_get_model_evaluate_and_predict_agree(trained, ratings: DataFrame) -> None:
    est, _ = trained
    rows = ratings.toPandas()
    inputs = [rows[name].to_numpy()[:, None] for name in FEATURES]
    model = est.get_model()
    expected = model.evaluate(inputs, rows["label"].to_numpy()[:, None], verbose=0)
    found = est.evaluate(ratings, verbose=0, feature_cols=FEATURES, label_cols=LABELS)
    assert list(found) == ["validation_loss", "validation_accuracy"]
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-6, atol=1e-6)
    predicted = est.predict(ratings.withColumn("kept", F.lit("x")), feature_cols=FEATURES)
    assert predicted.columns == [*ratings.columns, "kept", "prediction"]
    collected = predicted.toPandas()
    again = model.predict([collected[n].to_numpy()[:, None] for n in FEATURES], verbose=0)
    guesses = np.array([[list(inner) for inner in outer] for outer in collected["prediction"]])
    np.testing.assert_allclose(guesses, again, atol=1e-6)


def test_save_load_fit_goes_on_as_fit_fit(ratings: DataFrame, tmp_path: Path) -> None:
    def fit(est: Estimator, epochs: int):
        return est.fit(ratings, epochs, 100, verbose=0, feature_cols=FEATURES, label_cols=LABELS)

    unbroken = Estimator.from_keras(model_creator=ncf, num_workers=2)
    fit(unbroken, 1)
    path = str(tmp_path / "NCF.ckpt")
    assert unbroken.save(path) == path
    stats = fit(unbroken, 1)
    loaded = Estimator.from_keras(model_creator=ncf, num_workers=2)
    loaded.load(path)
    assert fit(loaded, 1).history == stats.history
    for mine, other in zip(
        loaded.get_model().get_weights(), unbroken.get_model().get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("keras", [2, pytest.param(3, marks=pytest.mark.thorough)])
def test_a_model_of_either_keras(spark: SparkSession, tmp_path: Path, keras: int) -> None:
    rows = spark.range(64).select(
        F.array((F.rand(1)), F.rand(2), F.rand(3)).alias("x"),
        F.array(F.rand(4), F.rand(5)).alias("y"),
        "id",
    )
    est = Estimator.from_keras(model_creator=flat, config={"keras": keras}, num_workers=2)
    before = est.predict(rows, feature_cols="x").collect()
    assert isinstance(before[0].prediction, DenseVector)
    est.fit(rows, 2, 16, verbose=0, feature_cols="x", label_cols="y")
    found = est.predict(rows, feature_cols="x", output_cols="out").orderBy("id").toPandas()
    model = est.get_model()
    inputs = np.stack(found["x"]).astype(np.float32)
    guesses = np.stack([vector.toArray() for vector in found["out"]])
    np.testing.assert_allclose(guesses, model.predict(inputs, verbose=0), atol=1e-6)
    for name in ("m.keras", "m.h5"):
        path = est.save(str(tmp_path / name))
        again = Estimator.from_keras(model_creator=flat, config={"keras": keras})
        again.predict(rows, feature_cols="x")  # lets it see the columns: it is built by a batch
        again.load(path)
        for mine, other in zip(again.get_model().get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, other)
    est.save_weights(str(tmp_path / "w.weights.h5"))
    est.load_weights(str(tmp_path / "w.weights.h5"))


def test_strings_and_several_outputs(spark: SparkSession) -> None:
    def creator(config):
        from tensorflow import keras

        text = keras.Input(shape=(1,), dtype="string", name="text")
        number = keras.Input(shape=(1,), name="number")
        codes = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(text)
        both = keras.layers.Concatenate()([codes, number])
        first = keras.layers.Dense(1, name="first")(both)
        second = keras.layers.Dense(2, activation="softmax", name="second")(both)
        model = keras.Model([text, number], [first, second])
        model.compile("sgd", ["mse", "sparse_categorical_crossentropy"])
        return model

    rows = spark.range(40).selectExpr(
        "if(id % 2 = 0, 'a', 'b') as t", "id / 40 as n", "id / 10 as y1", "id % 2 as y2"
    )
    est = Estimator.from_keras(model_creator=creator, num_workers=2)
    features = {"number": "n", "text": "t"}
    stats = est.fit(rows, 2, 8, verbose=0, feature_cols=features, label_cols=["y1", "y2"])
    assert {"train_loss", "train_first_loss", "train_second_loss"} <= set(stats)
    predicted = est.predict(rows, feature_cols=features)
    assert predicted.columns[-2:] == ["prediction_first", "prediction_second"]
    assert [len(predicted.first()[name]) for name in predicted.columns[-2:]] == [1, 2]


def test_callbacks_write_once_and_stop_everybody(ratings: DataFrame, tmp_path: Path) -> None:
    from tf_keras import callbacks

    est = Estimator.from_keras(model_creator=ncf, num_workers=2)
    stats = est.fit(
        ratings,
        epochs=6,
        batch_size=200,
        verbose=0,
        feature_cols=FEATURES,
        label_cols=LABELS,
        callbacks=[
            callbacks.EarlyStopping("loss", patience=0, min_delta=10.0),
            callbacks.CSVLogger(str(tmp_path / "log.csv")),
            callbacks.ModelCheckpoint(str(tmp_path / "w{epoch}.h5"), save_weights_only=True),
            callbacks.TensorBoard(str(tmp_path / "board")),
        ],
    )
    assert len(stats.history["loss"]) == 2
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert len(lines) == 3
    assert float(lines[1].split(",")[2]) == pytest.approx(stats.history["loss"][0], rel=1e-6)
    assert sorted(path.name for path in tmp_path.glob("*.h5")) == ["w1.h5", "w2.h5"]
    assert len(list((tmp_path / "board" / "train").iterdir())) == 1


class TestWhatGoesWrong:
    """Each ends in one error within seconds; the processes' own faults are in tests/faults."""

    def failed(self, est: Estimator, rows: DataFrame, kind: type[Exception], **fields) -> str:
        started = time.monotonic()
        with pytest.raises(kind) as caught:
            est.fit(rows, **{"feature_cols": FEATURES, "label_cols": LABELS, **fields}, verbose=0)
        assert time.monotonic() - started < LIMIT_SECONDS + 30  # a cold framework may be imported
        return str(caught.value)

    def test_a_model_that_is_not_compiled(self, ratings: DataFrame) -> None:
        def creator(config):
            from tensorflow import keras

            return keras.Sequential([keras.layers.Dense(1)])

        est = Estimator.from_keras(model_creator=creator, num_workers=2)
        assert "not compiled" in self.failed(est, ratings, ModelError, feature_cols=["user"])
        compiled = Estimator.from_keras(
            model_creator=creator,
            compile_args_creator=lambda config: {"optimizer": "sgd", "loss": "mse"},
            num_workers=2,
        )
        compiled.fit(ratings, feature_cols=["user"], label_cols=LABELS, verbose=0)
        assert est.predict(ratings, feature_cols=["user"]).count() == 2003

    def test_a_label_out_of_range(self, ratings: DataFrame) -> None:
        est = Estimator.from_keras(model_creator=ncf, num_workers=2)
        bad = ratings.withColumn("label", F.lit(7))
        assert "label 7 is outside 0…4" in self.failed(est, bad, DataError)

    def test_columns_that_do_not_fit_the_input(self, spark: SparkSession) -> None:
        def creator(config):
            from tensorflow import keras

            model = keras.Sequential([keras.Input(shape=(4,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse")
            return model

        rows = spark.range(9).selectExpr("array(1.0, 2.0, 3.0) as user", "1.0 as label")
        est = Estimator.from_keras(model_creator=creator)
        text = self.failed(est, rows, ModelError, feature_cols=["user"])
        assert "(4,)" in text or "(None, 4)" in text
        assert "3" in text and "'user'" in text

    def test_a_state_of_another_model(self, trained, spark: SparkSession, tmp_path: Path) -> None:
        path = trained[0].save(str(tmp_path / "ncf"))
        est = Estimator.from_keras(model_creator=flat, config={"keras": 2})
        est.load(path)
        rows = spark.range(9).selectExpr("1.0 as user", "array(1.0, 2.0) as label")
        assert "do not fit" in self.failed(est, rows, StateError, feature_cols=["user"])

    def test_a_state_that_could_not_come_back(
        self, ratings: DataFrame, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limit = "zoo.orca.learn.requests.max_result_bytes"
        monkeypatch.setattr(limit, lambda spark: 70_000)
        est = Estimator.from_keras(model_creator=ncf, num_workers=2)
        text = self.failed(est, ratings, StateError)
        assert "spark.driver.maxResultSize" in text and "model_dir" in text

    def test_nan_is_a_warning_and_training_goes_on(
        self, spark: SparkSession, capfd: pytest.CaptureFixture[str]
    ) -> None:
        # In the label: some processors' relu turns what is not a number into 0.
        rows = spark.range(32).selectExpr("double(id) as x", "array(double('nan'), 2.0) as y")
        est = Estimator.from_keras(model_creator=flat, config={"keras": 2}, num_workers=2)
        stats = est.fit(rows, epochs=3, batch_size=8, feature_cols=["x"], label_cols=["y"])
        assert len(stats.history["loss"]) == 3
        assert capfd.readouterr().out.count("warning:") == 1

    def test_arguments_are_refused_on_the_driver(self, ratings: DataFrame) -> None:
        est = Estimator.from_keras(model_creator=ncf)
        given = {"feature_cols": FEATURES, "label_cols": LABELS}
        with pytest.raises(InvalidInputError, match="batch_size"):
            est.fit(ratings, batch_size=0, **given)
        with pytest.raises(InvalidInputError, match="spark.read.parquet"):
            est.fit("ratings.parquet", **given)
        with pytest.raises(InvalidInputError, match="sample_weight_col"):
            est.evaluate(ratings, sample_weight=[1.0], **given)
        with pytest.raises(InvalidInputError, match="backend"):
            Estimator.from_keras(model_creator=ncf, backend="mpi")
        with pytest.raises(InvalidInputError, match="batch_size belongs to fit"):
            Estimator.from_keras(model_creator=ncf, config={"batch_size": 3})
        with pytest.warns(UserWarning, match="data_config"):
            with pytest.raises(InvalidInputError, match="epochs"):
                est.fit(ratings, epochs=0, data_config={}, **given)
        for backend in ("tf2", "ray", "horovod", "spark"):
            Estimator.from_keras(model_creator=ncf, backend=backend)
