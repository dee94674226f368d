"""`autolog` over real fits, in a real store."""

import logging

import mlflow
import pytest

import zoo.orca.mlflow as orca
from tests.mlflow.conftest import BATCH, EPOCHS, FEATURES, LABELS
from zoo.orca.driver.reports.epochs import EpochEnd
from zoo.orca.mlflow.autologging import Metrics, log_parameters

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def curve(run, name: str) -> list[tuple[int, float]]:
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
    return [(one.step, one.value) for one in sorted(history, key=lambda one: one.step)]


def test_every_epochs_values_are_the_historys(tracked):
    assert tracked.run.info.status == "FINISHED"
    assert len(tracked.stats.history["loss"]) == EPOCHS
    for name, values in tracked.stats.history.items():
        found = curve(tracked.run, name)
        assert found == list(enumerate(values)), name


def test_parameters_are_those_of_the_call_and_of_the_estimator(tracked):
    found = tracked.run.data.params
    expected = {"epochs": EPOCHS, "batch_size": BATCH, "workers": 1, "seed": 0}
    assert {name: found[name] for name in expected} == {n: str(v) for n, v in expected.items()}
    assert found["feature_cols"] == str(FEATURES) and found["label_cols"] == str(LABELS)
    assert found["config.lr" if tracked.framework == "pytorch" else "config.rate"] == "0.01"
    assert not {"data", "verbose", "callbacks", "validation_data"} & set(found)


def test_the_data_is_the_runs_input(tracked, purchases):
    inputs = tracked.run.inputs.dataset_inputs
    contexts = {one.tags[0].value: one.dataset for one in inputs}
    assert set(contexts) == {"train", "eval"}
    path = purchases.inputFiles()[0].rpartition("/")[0]
    assert path in contexts["train"].source
    assert '"price"' in contexts["train"].schema


def test_the_summaries_for_tensorboard_are_the_history(tracked):
    from tests.learn.tracking.test_event_files import scalars

    history = tracked.stats.history
    found = tracked.est.get_train_summary("loss")
    assert [point[:2] for point in found] == [[k + 1, v] for k, v in enumerate(history["loss"])]
    assert found == tracked.est.get_train_summary("Loss") == tracked.est.get_train_summary()
    valid = tracked.est.get_validation_summary("loss")
    assert [point[1] for point in valid] == history["val_loss"]
    for part, points in (("train", found), ("validation", valid)):
        read = scalars(tracked.events / "shop" / part, "loss")
        assert [(step, at) for step, _, at in read] == [(p[0], p[2]) for p in points]
        assert [value for _, value, _ in read] == pytest.approx([p[1] for p in points], rel=1e-6)


def test_a_disabled_autolog_leaves_no_patch():
    from zoo.orca.learn.keras_estimator import KerasEstimator
    from zoo.orca.learn.pytorch import Estimator

    fits = KerasEstimator.fit, Estimator.fit
    orca.autolog()
    assert KerasEstimator.fit is not fits[0] and Estimator.fit is not fits[1]
    orca.autolog(disable=True)
    assert (KerasEstimator.fit, Estimator.fit) == fits


def test_a_second_fit_of_a_run_adds_what_is_new_and_tells_what_is_other(store, caplog):
    with mlflow.start_run() as run:
        log_parameters(run.info.run_id, {"epochs": 2, "workers": 1, "nothing": None})
        with caplog.at_level(logging.WARNING):
            log_parameters(run.info.run_id, {"epochs": 3, "workers": 1, "config.a:b": "x" * 900})
    found = mlflow.get_run(run.info.run_id).data.params
    assert found == {"epochs": "2", "workers": "1", "config.a_b": "x" * 500}
    assert "['epochs']" in caplog.text


def test_values_that_cannot_be_logged_do_not_end_the_training(store, caplog):
    with caplog.at_level(logging.WARNING):
        Metrics("no such run")(EpochEnd(1, {"loss": 1.0}))
    assert "autolog: " in caplog.text
    with mlflow.start_run() as run:
        Metrics(run.info.run_id)(EpochEnd(3, {"ROC[fpr][0]": 0.5, "loss": float("nan")}))
    assert curve(run, "ROC_fpr__0_") == [(2, 0.5)]
