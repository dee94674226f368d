"""`plan` and `verify` take what `fit` takes, of every estimator."""

import inspect
from typing import Any

import pytest

from zoo.orca.learn.keras import Estimator as Keras
from zoo.orca.learn.pytorch import Estimator as Torch
from zoo.orca.learn.tf2 import Estimator as TF2


@pytest.mark.parametrize("kind", [Keras, TF2, Torch])
@pytest.mark.parametrize(("name", "own"), [("plan", "count build"), ("verify", "steps workers")])
def test_they_have_the_arguments_of_fit(kind: Any, name: str, own: str) -> None:
    fit = inspect.signature(kind.fit).parameters
    found = inspect.signature(getattr(kind, name)).parameters
    assert set(found) == {*fit, *own.split()}
    assert {one: found[one] for one in fit} == dict(fit)
    assert "`fit`" in inspect.getdoc(getattr(kind, name))


def test_other_arguments_are_refused_as_fit_refuses_them() -> None:
    est = Torch.from_torch(model=lambda config: None, num_workers=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        est.plan({"x": [1.0]}, epoch=1)
