"""What a search looks for: a metric by the original's or the framework's name."""

import math

import pytest

from zoo.orca.automl.goal import Goal, goal_of
from zoo.orca.errors import InvalidInputError

LOGS = {"loss": 1.0, "val_loss": 2.0, "val_Accuracy": 0.5, "mean_squared_error": 3.0}


@pytest.mark.parametrize(
    ("metric", "value"),
    [("loss", 2.0), ("val_loss", 2.0), ("accuracy", 0.5), ("acc", 0.5), ("mse", 3.0)],
)
def test_a_metric_is_that_of_validation_by_any_of_its_names(metric: str, value: float) -> None:
    assert goal_of(metric, None, None).value(LOGS) == value


def test_a_metric_that_no_epoch_has_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(InvalidInputError, match=r"metric='auc' is none .*\['loss'\]\nName one of"):
        goal_of("auc", None, None).value({"loss": 1.0})
    with pytest.raises(InvalidInputError, match="metric='val_loss' is none"):
        goal_of("val_loss", None, None).value({"loss": 1.0})


def test_names_say_what_is_good() -> None:
    modes = {name: goal_of(name, None, None).mode for name in ("mse", "val_loss", "AUC", "F1Score")}
    assert modes == {"mse": "min", "val_loss": "min", "AUC": "max", "F1Score": "max"}
    assert goal_of(None, None, None) == Goal(metric="loss", mode="min")
    assert goal_of("mse", "max", 3).mode == "max"
    with pytest.raises(
        InvalidInputError, match="metric='gain': nothing says .*\nWrite metric_mode="
    ):
        goal_of("gain", None, None)
    assert goal_of("gain", "max", None).mode == "max"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((len, None, None), "must be the name of a value"),
        (("loss", "least", None), "metric_mode must be 'min' or 'max', got 'least'"),
        (("loss", None, "0.9"), "metric_threshold must be a number, got '0.9'"),
    ],
)
def test_what_is_no_goal_is_refused(given: tuple[object, ...], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        goal_of(*given)


def test_thresholds_and_comparisons() -> None:
    small, large = Goal(mode="min", threshold=0.5), Goal(mode="max", threshold=0.5)
    assert [small.is_met(value) for value in (0.4, 0.5, 0.6, math.nan)] == [
        True,
        True,
        False,
        False,
    ]
    assert [large.is_met(value) for value in (0.4, 0.5, 0.6)] == [False, True, True]
    assert (
        small.is_better(1.0, None) and small.is_better(1.0, 2.0) and not small.is_better(2.0, 1.0)
    )
    assert large.is_better(2.0, 1.0) and not large.is_better(1.0, 1.0)
    assert not Goal().is_met(0.0)
