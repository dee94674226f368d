"""Models of MLflow that hold an estimator: what every loader of theirs predicts with."""

import mlflow
import numpy as np
import pytest
from pyspark.ml.functions import vector_to_array

import zoo.orca.mlflow as orca
from tests.fake_estimator import FakeEstimator, linear
from tests.mlflow.conftest import FEATURES, LABELS
from zoo.orca.errors import InvalidInputError, StateError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def arrays(predicted) -> np.ndarray:
    """A frame's predictions as one array."""
    values = predicted["prediction"]
    return np.stack(list(values)) if values.dtype == object else values.to_numpy()


@pytest.fixture(scope="module")
def rows(purchases):
    return purchases.toPandas()


@pytest.fixture
def expected(tracked, rows) -> np.ndarray:
    return arrays(tracked.est.predict(rows, feature_cols=FEATURES))


def test_pyfunc_predicts_as_the_estimator_does(tracked, rows, expected):
    found = mlflow.pyfunc.load_model(tracked.model).predict(rows[FEATURES])
    assert found.dtype == expected.dtype
    # With another number of threads a framework may add in another order.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_spark_udf_predicts_as_the_estimator_does(tracked, spark, purchases):
    score = mlflow.pyfunc.spark_udf(spark, tracked.model, env_manager="local")
    expected = tracked.est.predict(purchases, feature_cols=FEATURES)
    if tracked.framework != "pytorch":
        whole = vector_to_array("prediction", "float32")
        expected = expected.withColumn("prediction", whole)
    found = purchases.withColumn("prediction", score(*FEATURES))
    types = {frame.schema["prediction"].dataType.simpleString() for frame in (found, expected)}
    assert len(types) == 1
    # The signature names the columns, too.
    found = found.withColumn("again", score()).toPandas()
    expected = arrays(expected.toPandas())
    np.testing.assert_allclose(arrays(found), expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(np.stack(list(found["again"])), arrays(found))


def test_a_loaded_estimator_predicts_and_goes_on_alike(tracked, purchases, rows, expected):
    again = orca.load_model(tracked.model)
    assert type(again) is type(tracked.est)
    np.testing.assert_array_equal(arrays(again.predict(rows)), expected)
    more = {"epochs": 1, "batch_size": 16, "verbose": 0}
    columns = {"feature_cols": FEATURES, "label_cols": LABELS}
    other = orca.load_model(tracked.model, num_workers=1)
    first = again.fit(purchases, **more, **columns).history
    assert first == other.fit(purchases, **more, **columns).history
    assert again._epochs_done == tracked.est._epochs_done + 1


def test_mlflows_own_flavour_loads_the_same_model(tracked, rows, expected):
    user, price = (rows[name].to_numpy(np.float32)[:, None] for name in FEATURES)
    if tracked.framework == "keras":
        found = mlflow.keras.load_model(tracked.model).predict([user, price], verbose=0)
    elif tracked.framework == "tf2":
        found = mlflow.tensorflow.load_model(tracked.model).predict([user, price], verbose=0)
    else:
        import torch

        model = mlflow.pytorch.load_model(tracked.model)
        with torch.no_grad():
            given = [torch.from_numpy(rows[name].to_numpy()) for name in FEATURES]
            found = model(*given).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_model_says_what_it_takes_and_what_is_in_it(tracked):
    found = mlflow.models.get_model_info(tracked.model)
    assert found.signature.inputs.input_names() == FEATURES
    assert found.signature.outputs.input_names() == ["prediction"]
    own = {"tf2": "tensorflow", "keras": "keras", "pytorch": "pytorch"}[tracked.framework]
    assert set(found.flavors) == {"orca", "python_function", own}
    assert found.flavors["python_function"]["loader_module"] == "zoo.orca.mlflow"
    assert found.flavors["orca"]["creator_format"] == "cloudpickle"
    assert "pickled" in found.metadata["zoo_orca"]
    loaded = mlflow.pyfunc.load_model(tracked.model)
    assert list(loaded.input_example.columns) == FEATURES and len(loaded.input_example) == 5


def test_an_estimator_that_has_seen_nothing_is_not_saved(tmp_path):
    est = FakeEstimator.of(linear())
    with pytest.raises(StateError, match=r"save_model: .*\nCall fit, or predict\(df"):
        orca.save_model(est, str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()
    with pytest.raises(InvalidInputError, match="saves estimators of zoo.orca.learn, got dict"):
        orca.save_model({}, str(tmp_path / "model"))
