"""Where training stands: the next `fit` goes on with the very next step."""

import pytest

from zoo.orca.frameworks.common.cursor import begun_with, cursor, first_step
from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.canonical import CanonicalPlan
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.worker.collective.protocol import Alone
from zoo.orca.worker.plugin import Begun, World


@pytest.mark.parametrize("step", [0, 1, 3, 7])
def test_the_same_rows_go_on_where_they_stood(step):
    plan = PlacedPlan(counts=(7, 3), batch_size=4)
    state = State({}, {"cursor": cursor(plan, step)})
    assert first_step(state, plan) == step


@pytest.mark.parametrize(("step", "passes"), [(0, 0), (1, 1), (3, 1), (4, 2)])
def test_other_rows_begin_a_pass(step, passes):
    state = State({}, {"cursor": cursor(PlacedPlan(counts=(7, 3), batch_size=4), step)})
    other = PlacedPlan(counts=(7, 3), batch_size=5)
    assert first_step(state, other) == passes * other.steps_per_pass


def test_a_state_without_a_place_begins_at_the_beginning():
    assert (
        first_step(State({}), PlacedPlan(counts=(7, 3), batch_size=4))
        == first_step(None, PlacedPlan(counts=(7, 3), batch_size=4))
        == 0
    )


def test_other_workers_go_on_with_the_canonical_order_alone():
    for kind, goes_on in ((canonical, True), (placed, False)):
        two, three = kind(2), kind(3)
        state = State({}, {"cursor": cursor(two, 4)})
        world = World(collective=Alone(), report=print, begun=Begun(steps=4, sums=()))
        assert begun_with(world, state, two).begun is world.begun
        assert (begun_with(world, state, three).begun is not None) == goes_on
        assert (first_step(state, three) == 4) == goes_on
        assert begun_with(world, None, two).begun is None


def canonical(workers):
    return CanonicalPlan(rows=60, workers=workers, batch_size=6)


def placed(workers):
    return PlacedPlan(counts=(60 // workers,) * workers, batch_size=6)
