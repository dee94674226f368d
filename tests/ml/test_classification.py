"""Classifiers of each framework: what Orca's estimators give, as Spark ML has it."""

import numpy as np
import pytest
from pyspark.ml.evaluation import BinaryClassificationEvaluator, MulticlassClassificationEvaluator
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType
from torch import nn

from tests.ml.models import COMMON, TORCH, classifier, keras_two
from zoo.orca.errors import ColumnError, DataError, InvalidInputError
from zoo.orca.ml import KerasClassifier, TorchClassifier

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def arrays(frame, column="rawPrediction"):
    rows = frame.orderBy("id").select(column).collect()
    return np.array([getattr(row[0], "toArray", lambda row=row: row[0])() for row in rows])


@pytest.mark.parametrize("framework", ["jax", "tf2", "torch"])
def test_a_classifier_is_orcas_estimator(table, framework):
    """Training, outputs, probabilities: all as by hand, from the same seed."""
    logits = framework != "jax"
    more = {} if framework == "torch" else {"config": {"logits": logits}}
    stage = classifier(framework, **more)
    model = stage.fit(table)
    by_hand = stage._made()
    stats = by_hand.fit(
        table.withColumn("kind", F.col("kind").cast("int")),
        epochs=2,
        batch_size=40,
        feature_cols=["features"],
        label_cols=["kind"],
        verbose=0,
    )
    assert model.summary.history == stats.history and model.hasSummary
    assert model.summary.objectiveHistory == stats.history["loss"]
    assert model.summary.totalIterations == 2 and model.numClasses == 3
    assert model.uid == stage.uid and model.getLabelCol() == "kind"
    found = model.transform(table)
    added = ["rawPrediction", "probability", "prediction"]
    assert found.columns == [*table.columns, *added]
    kinds = [type(found.schema[name].dataType) for name in added]
    assert kinds == [VectorUDT, VectorUDT, DoubleType]
    expected = arrays(by_hand.predict(table, feature_cols=["features"]), "prediction")
    raw, chances = arrays(found), arrays(found, "probability")
    np.testing.assert_array_equal(raw, expected)
    if logits:
        powers = np.exp(raw - raw.max(axis=1, keepdims=True))
        expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(chances, expected, rtol=1e-9)
    classes = arrays(found, "prediction")
    np.testing.assert_array_equal(classes, np.argmax(raw, axis=1))
    accuracy = MulticlassClassificationEvaluator(labelCol="kind", metricName="accuracy")
    labels = arrays(table, "kind")
    assert accuracy.evaluate(found) == pytest.approx((classes == labels).mean())
    loss = MulticlassClassificationEvaluator(labelCol="kind", metricName="logLoss")
    picked = chances[np.arange(len(labels)), labels.astype(int)]
    assert loss.evaluate(found) == pytest.approx(-np.log(picked).mean(), rel=1e-6)


def torch_two(config):
    return nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_one_output_is_of_class_1(table, framework):
    given = {**COMMON, "labelCol": "two", "numWorkers": 1}
    if framework == "torch":
        loss = nn.BCEWithLogitsLoss()
        stage = TorchClassifier(modelCreator=torch_two, loss=loss, **{**TORCH, **given})
    else:
        stage = KerasClassifier(modelCreator=keras_two, backend="jax", **given)
    model = stage.fit(table)
    found = model.transform(table).cache()
    output = arrays(model.estimator.predict(table), "prediction").reshape(-1).astype(float)
    chance = output if framework == "jax" else 1 / (1 + np.exp(-output))
    chances = arrays(found, "probability")
    np.testing.assert_allclose(chances, np.stack([1 - chance, chance], 1), rtol=1e-6)
    np.testing.assert_array_equal(arrays(found, "prediction"), chance > 0.5)
    assert model.numClasses == 2
    labels = arrays(table, "two")
    pairs = chance[labels == 1][:, None] - chance[labels == 0][None, :]
    area = (pairs > 0).mean() + (pairs == 0).mean() / 2
    for column in ("rawPrediction", "probability"):
        evaluator = BinaryClassificationEvaluator(labelCol="two", rawPredictionCol=column)
        assert evaluator.evaluate(found) == pytest.approx(area, abs=1e-6)


def test_columns_weights_and_rows_to_validate_with(table):
    """As `fit` has them: features in a list, weights, and the rows that are marked."""
    stage = classifier(
        "torch",
        featuresCol=[["a", "b", "list"]],
        weightCol="weight",
        validationIndicatorCol="held",
        fitParams={"training_metrics": False},
    ).setModelCreator(lambda config: nn.Sequential(nn.Linear(6, 3)))
    history = stage.fit(table).summary.history
    by_hand = stage._made()
    rows = table.withColumn("kind", F.col("kind").cast("int"))
    stats = by_hand.fit(
        rows.where("not held"),
        epochs=2,
        batch_size=40,
        feature_cols=[["a", "b", "list"]],
        label_cols=["kind"],
        sample_weight_col="weight",
        validation_data=rows.where("held"),
        verbose=0,
    )
    assert history == stats.history and {"loss", "val_loss"} <= set(history)


def test_a_row_that_says_nothing_of_validation_is_trained(table):
    stage = classifier("torch", validationIndicatorCol="held", epochs=1)
    unknown = table.withColumn("held", F.when(F.col("held"), True))
    assert stage.fit(unknown).summary.history == stage.fit(table).summary.history


def test_copies_and_parameters_for_one_call(table):
    stage = classifier("torch", epochs=1)
    model = stage.fit(table, {stage.epochs: 3, stage.configParam("lr"): 0.0})
    assert model.summary.totalIterations == 3 and stage.getEpochs() == 1
    # A rate of 0 learns nothing: the key of config reached the optimizer.
    assert len(set(model.summary.history["loss"])) == 1 or np.ptp(
        model.summary.history["loss"]
    ) == pytest.approx(0, abs=1e-6)
    copied = model.copy({model.predictionCol: "p", model.probabilityCol: ""})
    assert copied.uid == model.uid and copied.estimator is model.estimator
    assert copied.transform(table).columns == [*table.columns, "rawPrediction", "p"]
    found = model.transform(table, {model.rawPredictionCol: "", model.probabilityCol: ""})
    assert found.columns == [*table.columns, "prediction"]
    models = stage.fit(table, [{stage.epochs: 1}, {stage.epochs: 2}])
    assert [one.summary.totalIterations for one in models] == [1, 2]


def test_the_estimator_goes_on_training(table):
    model = classifier("torch", epochs=1).fit(table)
    before = arrays(model.transform(table))
    model.estimator.fit(
        table.withColumn("kind", F.col("kind").cast("int")),
        batch_size=40,
        feature_cols=["features"],
        label_cols=["kind"],
        verbose=0,
    )
    assert not np.array_equal(arrays(model.transform(table)), before)


def test_what_cannot_work_is_refused_before_training(table):
    halves = table.withColumn("kind", F.when(F.col("id") == 7, 1.5).otherwise(F.col("kind")))
    with pytest.raises(DataError, match="column 'kind' has 1.5, and classes are whole numbers\n"):
        classifier("torch").fit(halves)
    with pytest.raises(ColumnError, match="there is no column 'features'"):
        classifier("torch").fit(table.drop("features"))


def test_a_loss_that_does_not_say_what_outputs_are(table):
    stage = classifier("torch", epochs=1).setLoss(lambda config: nn.MultiMarginLoss())
    model = stage.fit(table)
    with pytest.raises(InvalidInputError, match=r"does not say.*\n.*setOutputScale\('logits'\)"):
        model.transform(table)
    found = model.setOutputScale("logits").transform(table)
    assert arrays(found, "probability").sum(axis=1) == pytest.approx(1)
