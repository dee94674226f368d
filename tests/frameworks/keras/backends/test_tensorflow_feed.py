"""TensorFlow over rows that are taken window by window."""

from dataclasses import replace

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.keras.test_equal import ADAM, SGD, check, columns
from tests.frameworks.ranks import Data, evaluate, train

pytestmark = pytest.mark.timeout(300)


class Windowed(Data):
    """Rows of which a worker may hold twelve."""

    def plan(self, batch_size, *, shuffle=True):
        """The plan of the steps over these rows."""
        return replace(super().plan(batch_size, shuffle=shuffle), window=12)


def test_weights_are_those_of_the_plans_batches(ranks):
    data = Windowed.of(columns(), (50, 53), features=("x", "u"))
    check(ranks, models.embedded, data, {"keras": 2, "optimizer": SGD})


@pytest.mark.parametrize("counts", [(50, 53), (103,)])
def test_two_fits_equal_one(ranks, counts):
    data = Windowed.of(columns(), counts, features=("x", "u"))
    # Four of six steps an epoch, so that the second fit begins in the middle of a pass.
    common = {"batch_size": 20, "steps_per_epoch": 4, "config": {"keras": 2, "optimizer": ADAM}}
    whole = train(ranks, models.embedded, data, epochs=4, **common)[0].trained
    state = train(ranks, models.embedded, data, epochs=2, **common)[0].trained.state
    second = train(ranks, models.embedded, data, epochs=2, initial_epoch=2, state=state, **common)[
        0
    ].trained
    for name, value in whole.state.tensors.items():
        np.testing.assert_array_equal(second.state.tensors[name], value, err_msg=name)
    assert second.state.meta == whole.state.meta


def test_another_budget_begins_a_new_pass(ranks):
    """The rest of a pass has other rows in another order: some would come twice, some never."""
    data = Windowed.of(columns(), (103,), features=("x", "u"))
    common = {"batch_size": 20, "epochs": 1, "config": {"keras": 2, "optimizer": SGD}}
    state = train(ranks, models.embedded, data, steps_per_epoch=4, **common)[0].trained.state
    assert state.meta["cursor"]["step"] == 4
    other = Data(data.shards, data.spec)
    common |= {"initial_epoch": 1, "state": state, "steps_per_epoch": 1}
    for rows, cursor in ((data, (0, 5)), (other, (1, 1))):
        found = train(ranks, models.embedded, rows, **common)[0].trained.state.meta["cursor"]
        assert (found["pass"], found["step"]) == cursor


def test_evaluate_is_exact(ranks):
    data = Windowed.of(columns(), (50, 53), features=("x", "u"))
    common = {"batch_size": 20, "config": {"keras": 2, "optimizer": SGD}}
    found = evaluate(ranks, models.embedded, data, **common)
    expected = evaluate(ranks, models.embedded, Data(data.shards, data.spec), **common)
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
