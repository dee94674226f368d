"""An estimator's curves, in memory and in files."""

import logging
import sys

import pytest

from tests.fake_estimator import FakeEstimator, linear
from tests.learn.tracking.test_event_files import scalars
from zoo.orca.driver.reports.epochs import EpochEnd
from zoo.orca.errors import InvalidInputError, MissingPackageError, StateError


@pytest.fixture
def est(tmp_path):
    made = FakeEstimator.of(linear())
    made.set_tensorboard(str(tmp_path), "app")
    return made


def train(est: FakeEstimator, *ends: tuple[int, dict[str, float]]) -> None:
    """What a fit does to an estimator's summaries."""
    est._summary.begin()
    for epoch, logs in ends:
        est._summary.add(EpochEnd(epoch, logs))


def values(curve) -> list[tuple[float, float]]:
    return [(step, value) for step, value, _ in curve]


def test_training_and_validation_are_apart(est, tmp_path):
    train(est, (1, {"loss": 1.0, "val_loss": 2.0, "num_samples": 8.0}), (2, {"loss": 0.5}))
    assert values(est.get_train_summary("loss")) == [(1, 1.0), (2, 0.5)]
    assert values(est.get_validation_summary("loss")) == [(1, 2.0)]
    assert est.get_validation_summary("val_loss") == est.get_validation_summary()
    for part, curve in (
        ("train", est.get_train_summary()),
        ("validation", est.get_validation_summary()),
    ):
        assert scalars(tmp_path / "app" / part, "loss") == [tuple(point) for point in curve]


def test_a_fit_from_an_earlier_epoch_replaces_the_later_ones(est, tmp_path):
    train(est, (1, {"loss": 4.0}), (2, {"loss": 3.0}), (3, {"loss": 2.0}))
    train(est, (2, {"loss": 1.0}))  # as after `load`
    assert values(est.get_train_summary()) == [(1, 4.0), (2, 1.0)]
    read = [point[:2] for point in scalars(tmp_path / "app" / "train", "loss")]
    assert read == [(1, 4.0), (2, 1.0)]


def test_a_curve_that_is_not_there_is_told_with_those_that_are(est):
    with pytest.raises(InvalidInputError, match="no train summary yet\nCall fit first"):
        est.get_train_summary("loss")
    train(est, (1, {"loss": 1.0, "mae": 0.5}))
    with pytest.raises(InvalidInputError, match=r"'acc' .*\nWrite one of \['loss', 'mae'\]"):
        est.get_train_summary("acc")
    with pytest.raises(InvalidInputError, match="Call fit with validation_data first"):
        est.get_validation_summary("loss")
    with pytest.raises(StateError, match=r"\nCall set_tensorboard\(log_dir, app_name\)"):
        FakeEstimator.of(linear()).get_train_summary("loss")


def test_training_goes_on_where_no_file_can_be_written(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    est = FakeEstimator.of(linear())
    est.set_tensorboard(str(tmp_path / "file"), "app")
    with caplog.at_level(logging.WARNING):
        train(est, (1, {"loss": 1.0}), (2, {"loss": 0.5}))
    assert values(est.get_train_summary()) == [(1, 1.0), (2, 0.5)]
    assert len(caplog.records) == 1 and "no more event files" in caplog.text


def test_a_directory_has_a_name(est):
    with pytest.raises(InvalidInputError, match="log_dir must be a path or a name, got None\n"):
        est.set_tensorboard(None, "app")


def test_without_tensorboard_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'zoo-orca\[tensorboard\]'"):
        FakeEstimator.of(linear()).set_tensorboard("logs", "app")
