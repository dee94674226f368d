"""Spaces of hyperparameters: what they draw lies where it must, and what is none is refused."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from zoo.orca.automl import hp
from zoo.orca.automl.space import checked_space, draw, grid_of
from zoo.orca.errors import InvalidInputError

optuna.logging.set_verbosity(optuna.logging.WARNING)


def drawn(space: dict[str, Any], count: int = 200) -> list[dict[str, Any]]:
    """Draw some configurations at random."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    return [draw(space, study.ask()) for _ in range(count)]


def values(space: hp.Space) -> list[Any]:
    return [config["a"] for config in drawn({"a": space})]


def multiples(found: list[float], grain: float) -> bool:
    return all(math.isclose(one / grain, round(one / grain), abs_tol=1e-9) for one in found)


@pytest.mark.parametrize(
    ("space", "lower", "upper", "grain", "kind"),
    [
        (hp.uniform(-1, 2), -1, 2, None, float),
        (hp.quniform(0.5, 2.0, 0.25), 0.5, 2.0, 0.25, float),
        (hp.loguniform(1e-4, 1e-1), 1e-4, 1e-1, None, float),
        (hp.qloguniform(0.01, 1.0, 0.01), 0.01, 1.0, 0.01, float),
        (hp.randint(1, 5), 1, 5, 1, int),
        (hp.qrandint(16, 64, 16), 16, 64, 16, int),
        (hp.lograndint(1, 1000), 1, 1000, 1, int),
        (hp.qlograndint(10, 1000, 10), 10, 1000, 10, int),
    ],
)
def test_what_lies_between_bounds(
    space: hp.Space, lower: float, upper: float, grain: float | None, kind: type
) -> None:
    found = values(space)
    assert {type(one) for one in found} == {kind}
    assert lower <= min(found) and max(found) <= upper
    if grain is not None:
        assert multiples(found, grain)
    if kind is int and upper < 100:  # both bounds are drawn
        assert {min(found), max(found)} == {lower, upper}


def test_logarithms_are_uniform() -> None:
    for space in (hp.loguniform(1e-4, 1e-0), hp.lograndint(1, 10_000)):
        logs = [math.log10(one) for one in values(space)]
        assert statistics.fmean(logs) == pytest.approx((min(logs) + max(logs)) / 2, abs=0.3)


def test_normal_distributions() -> None:
    found = values(hp.randn(3.0, 2.0))
    assert statistics.fmean(found) == pytest.approx(3.0, abs=0.5)
    assert statistics.stdev(found) == pytest.approx(2.0, abs=0.4)
    grained = values(hp.qrandn(0.0, 1.0, 0.5))
    assert multiples(grained, 0.5) and len(set(grained)) > 4


def test_one_or_some_of_several_of_any_kind() -> None:
    layers = [[8], [8, 8], [16, 4]]
    assert {tuple(one) for one in values(hp.choice(layers))} == {(8,), (8, 8), (16, 4)}
    assert set(map(repr, values(hp.choice([1, True, None, "a"])))) == {"1", "True", "None", "'a'"}
    some = values(hp.choice_n(["a", "b", "c"], 1, 2))
    assert {tuple(one) for one in some} == {
        ("a",),
        ("b",),
        ("c",),
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    }


def test_a_configuration_has_constants_dicts_and_what_is_computed_of_the_others() -> None:
    space = {
        "hidden": hp.sample_from(lambda spec: 2 * spec.config.optimizer.width),
        "optimizer": {"name": "SGD", "width": hp.choice([3, 4])},
        "twice": hp.sample_from(lambda spec: 2 * spec.config["hidden"]),
        "epsilon": 0.5,
    }
    for config in drawn(space, 5):
        width = config["optimizer"]["width"]
        assert config == {
            "hidden": 2 * width,
            "optimizer": {"name": "SGD", "width": width},
            "twice": 4 * width,
            "epsilon": 0.5,
        }
        assert list(config) == list(space)


def test_a_grid_is_every_value_with_every_other_one() -> None:
    space = {"a": hp.grid_search([1, 2]), "b": {"c": hp.grid_search([[8], [16]])}, "d": hp.randn()}
    assert grid_of(space) == [{"a": a, "b/c": c} for a in (1, 2) for c in ("0: [8]", "1: [16]")]
    assert grid_of({"d": hp.randn()}) == [{}]


@pytest.mark.parametrize(
    ("make", "words", "way"),
    [
        (lambda: hp.uniform(2, 1), "hp.uniform: lower=2 and upper=1", lambda: hp.uniform(1, 2)),
        (lambda: hp.uniform("a", 1), "lower='a'", lambda: hp.uniform(0, 1)),
        (lambda: hp.randint(1, 2.5), "are not whole numbers", lambda: hp.randint(1, 2)),
        (lambda: hp.loguniform(0, 1), "lower=0 has no logarithm", lambda: hp.loguniform(1e-6, 1)),
        (
            lambda: hp.quniform(0.1, 1, 0.25),
            "0.1 is no multiple of q=0.25",
            lambda: hp.quniform(0, 1, 0.25),
        ),
        (lambda: hp.qrandn(0, 1, 0), "q=0 is no number above 0", lambda: hp.qrandn(0, 1, 1)),
        (lambda: hp.qrandint(0, 4, 0.5), "q=0.5 is no whole number", lambda: hp.qrandint(0, 4, 1)),
        (lambda: hp.randn(0, 0), "std=0 is no number above 0", lambda: hp.randn(0, 1)),
        (lambda: hp.choice("abc"), "'abc' is no list of values", lambda: hp.choice([16, 32, 64])),
        (lambda: hp.grid_search([]), r"\[\] is no list", lambda: hp.grid_search([16, 32, 64])),
        (
            lambda: hp.choice_n([1, 2], 1, 3),
            "min_items=1 to max_items=3",
            lambda: hp.choice_n([1, 2], 1, 2),
        ),
        (lambda: hp.sample_from(3), "func is a int", lambda: hp.sample_from(lambda spec: 2)),
        (
            lambda: checked_space([1]),
            "must be a dict, got list",
            lambda: checked_space({"lr": hp.randn()}),
        ),
        (
            lambda: checked_space({"a": {1: 2}}),
            "has a key 1",
            lambda: checked_space({"a": {"1": 2}}),
        ),
    ],
)
def test_what_is_no_space_is_refused(
    make: Callable[[], Any], words: str, way: Callable[[], Any]
) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        make()
    assert str(caught.value).count("\n") == 1
    way()


def test_a_function_that_fails_names_its_hyperparameter() -> None:
    space = {"a": hp.sample_from(lambda spec: spec.config.b), "c": 1}
    words = (
        r"search_space\['a'\]: its function failed: AttributeError: there is no hyperparameter 'b'"
    )
    with pytest.raises(InvalidInputError, match=words):
        drawn(space, 1)
