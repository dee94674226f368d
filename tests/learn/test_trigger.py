"""Orca's triggers stand for the arguments of `fit` about checkpoints."""

import pytest

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.trigger import EveryEpoch, SeveralIteration, steps_between


def test_what_a_trigger_stands_for():
    assert steps_between(None, 7, None) == 7
    assert steps_between(EveryEpoch(), None, "dir") is None
    assert steps_between(EveryEpoch(), 7, "dir") == 7
    assert steps_between(SeveralIteration(5), None, "dir") == 5


@pytest.mark.parametrize(
    ("trigger", "steps", "model_dir", "told"),
    [
        ("epoch", None, "dir", "must be a trigger, got a str"),
        (EveryEpoch, None, "dir", "must be a trigger, got a type"),
        (EveryEpoch(), None, None, r"checkpoint_trigger=EveryEpoch\(\) needs a place"),
        (SeveralIteration(5), 7, "dir", r"SeveralIteration\(5\) and checkpoint_steps=7"),
    ],
)
def test_what_cannot_be(trigger, steps, model_dir, told):
    with pytest.raises(InvalidInputError, match=told) as caught:
        steps_between(trigger, steps, model_dir)
    assert len(str(caught.value).splitlines()) == 2


def test_an_interval_is_a_whole_number():
    with pytest.raises(InvalidInputError, match="interval must be a whole number from 1"):
        SeveralIteration(0)
