"""`batch_transform=` from the program: what is refused, kept, and told."""

import re
import threading
from typing import Any

import numpy as np
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession

from zoo.orca.errors import CreatorError, InvalidInputError, OrcaError
from zoo.orca.learn.pytorch import Estimator

pytestmark = pytest.mark.timeout(240)


def as_numbers(columns: dict[str, Any], training: bool) -> dict[str, Any]:
    """Text becomes the numbers in it."""
    columns["x"] = np.array([[float(one) for one in text.split()] for text in columns.pop("text")])
    return columns


def twice(columns: dict[str, Any], training: bool) -> dict[str, Any]:
    """Every row a second time, whatever for."""
    found = as_numbers(columns, training)
    return {name: np.concatenate([values, values]) for name, values in found.items()}


def estimator(transform: Any) -> Estimator:
    def model(config: dict[str, Any]) -> Any:
        made = torch.nn.Linear(2, 1)
        with torch.no_grad():
            made.weight.copy_(torch.tensor([[1.0, 10.0]]))
            made.bias.zero_()
        return made

    return Estimator.from_torch(
        model=model,
        optimizer=lambda model, config: torch.optim.SGD(model.parameters(), 0.001),
        loss=torch.nn.MSELoss(),
        batch_transform=transform,
    )


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    texts = [(number, f"{number % 5} {number % 3}", [float(number)]) for number in range(40)]
    return spark.createDataFrame(texts, "id int, text string, y array<float>").repartition(2)


def predictions(estimator: Estimator, rows: DataFrame, feature_cols: Any = None) -> np.ndarray:
    found = estimator.predict(rows, feature_cols=feature_cols).orderBy("id").collect()
    return np.array([row.prediction[0] for row in found])


def test_a_model_that_nothing_has_trained_predicts_what_comes_out(rows: DataFrame) -> None:
    expected = [number % 5 + 10 * (number % 3) for number in range(40)]
    np.testing.assert_allclose(predictions(estimator(as_numbers), rows, ["text"]), expected)


def test_a_saved_state_knows_what_goes_in_and_what_comes_out(
    rows: DataFrame, tmp_path: Any
) -> None:
    trained = estimator(as_numbers)
    trained.fit(rows, epochs=1, feature_cols=["text"], label_cols=["y"], verbose=0)
    trained.save(str(tmp_path / "state"))
    loaded = estimator(as_numbers)
    loaded.load(str(tmp_path / "state"))
    ours = predictions(loaded, rows)
    np.testing.assert_array_equal(ours, predictions(trained, rows))
    assert loaded.evaluate(rows, verbose=0) == trained.evaluate(rows, verbose=0)
    # Another transform makes other inputs: they are found out anew.
    other = estimator(lambda columns, training: as_numbers(columns, training))
    other.load(str(tmp_path / "state"))
    np.testing.assert_array_equal(predictions(other, rows), ours)


def test_more_rows_where_nothing_is_trained_are_one_error(rows: DataFrame) -> None:
    with pytest.raises(OrcaError) as caught:
        estimator(twice).evaluate(rows, feature_cols=["text"], label_cols=["y"], verbose=0)
    message = str(caught.value)
    assert re.search(r"batch_transform returned 4 rows for 2$", message, re.MULTILINE), message


@pytest.mark.parametrize("given", ["text", lambda: None, lambda columns: columns])
def test_what_cannot_be_called_with_a_batch_is_refused_at_once(given: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        estimator(given)
    cause, way = str(caught.value).splitlines()
    assert cause.startswith("batch_transform ")
    assert way.startswith("Write def batch_transform(columns, training): ...")


def test_what_cannot_travel_is_named() -> None:
    held = threading.Lock()
    with pytest.raises(CreatorError, match="batch_transform cannot be sent to the workers"):
        estimator(lambda columns, training: {"x": [held.locked()]})
