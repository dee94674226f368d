"""Steps of any batch size over rows that are placed: the global batches of `fit`."""

from itertools import islice

import numpy as np
import pytest

from zoo.orca.wire.plans.canonical import CanonicalPlan
from zoo.orca.wire.plans.held import of_one_pass, own_rows
from zoo.orca.wire.plans.placed import PlacedPlan

SEED = 5


def as_fit_takes_them(rows: int, batch_size: int, number: int) -> list[list[int]]:
    """The rows of each step on one worker, as places in the sequence."""
    plan = CanonicalPlan(rows=rows, workers=1, batch_size=batch_size, seed=SEED)
    steps = plan.steps_per_pass
    return [sorted(step) for step in islice(plan.steps(0, number * steps), steps)]


def held(rows: int, workers: int) -> list[tuple[CanonicalPlan, int]]:
    """Each rank's plan, with its rows in any order in its file, and its first place."""
    plan = CanonicalPlan(rows=rows, workers=workers, batch_size=workers, seed=SEED)
    starts = np.cumsum([0, *plan.counts])
    return [(plan, int(start)) for start in starts[:-1]]


@pytest.mark.parametrize("rows", [1, 2, 7, 24, 100, 101])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_every_batch_size_gives_the_steps_of_fit(rows: int, workers: int) -> None:
    for batch_size in (1, 2, 3, 6, 10, 24, 30, 200):
        for number in (0, 1, 4):
            parts = [
                [step + start for step in of_one_pass(plan, rank, batch_size, number)]
                for rank, (plan, start) in enumerate(held(rows, workers))
            ]
            assert len({len(part) for part in parts}) == 1
            steps = [sorted(np.concatenate(step).tolist()) for step in zip(*parts, strict=True)]
            assert steps == as_fit_takes_them(rows, batch_size, number)


@pytest.mark.parametrize("workers", [2, 3])
def test_a_multiple_of_the_workers_gives_the_shares_of_fit(workers: int) -> None:
    rows = 100
    for batch_size in (workers, 4 * workers):
        fit = CanonicalPlan(rows=rows, workers=workers, batch_size=batch_size, seed=SEED)
        for rank, (plan, _) in enumerate(held(rows, workers)):
            assert plan.counts == fit.counts
            own = list(of_one_pass(plan, rank, batch_size, 1))
            steps = fit.steps_per_pass
            theirs = list(islice(fit.steps(rank, steps), steps))
            for one, other in zip(own, theirs, strict=True):
                np.testing.assert_array_equal(one, other)


def test_rows_are_where_the_plan_says() -> None:
    places = np.array([4, 2, 0, 3, 1])
    plan = CanonicalPlan(rows=10, workers=2, batch_size=2, seed=SEED, places=places)
    np.testing.assert_array_equal(own_rows(plan, 1), places)
    taken = np.concatenate(list(of_one_pass(plan, 1, 4, 0)))
    assert sorted(taken) == [0, 1, 2, 3, 4]
    bare = CanonicalPlan(rows=10, workers=2, batch_size=2, seed=SEED)
    np.testing.assert_array_equal(taken, places[np.concatenate(list(of_one_pass(bare, 1, 4, 0)))])


@pytest.mark.parametrize("window", [None, 8])
def test_rows_that_stay_where_they_lie_are_those_of_fit(window: int | None) -> None:
    counts = (30, 25, 0)
    placed = PlacedPlan(counts=counts, batch_size=3, seed=SEED, window=window)
    fit = PlacedPlan(counts=counts, batch_size=12, seed=SEED, window=window)
    for rank in range(3):
        np.testing.assert_array_equal(own_rows(placed, rank), np.arange(counts[rank]))
        for number in (0, 2):
            own = list(of_one_pass(placed, rank, 12, number))
            steps = fit.steps_per_pass
            theirs = list(islice(fit.steps(rank, number * steps), steps))
            for one, other in zip(own, theirs, strict=True):
                np.testing.assert_array_equal(one, other)


def test_another_plan_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        list(of_one_pass(object(), 0, 1, 0))  # type: ignore[arg-type]
