"""The plan of more rows than memory holds: exactly once, resumable, as good as one permutation."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.plans import order
from zoo.orca.wire.plans.order import by_windows, window_rows
from zoo.orca.wire.plans.placed import PlacedPlan

pytestmark = pytest.mark.timeout(120)

plans = st.builds(
    PlacedPlan,
    counts=st.lists(st.integers(0, 200), min_size=1, max_size=4).filter(any).map(tuple),
    batch_size=st.integers(1, 300),
    seed=st.integers(0, 2**31),
    shuffle=st.booleans(),
    window=st.integers(1, 150),
)
# The fixture sets the same for all examples.
swept = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])

KEY = (5, 0, 0)
COUNT, WINDOW = 200_000, 20_000


@pytest.fixture(params=[(4, 16), (1024, 1 << 16)], ids=["small", "real"])
def sizes(request, monkeypatch):
    """Blocks of several rows, and windows of several hands, in plans of a few hundred rows too."""
    blocks, hand = request.param
    monkeypatch.setattr(order, "BLOCKS", blocks)
    monkeypatch.setattr(order, "HAND_ROWS", hand)
    monkeypatch.setattr(order, "_DEAL_ROWS", 2 * hand + 1)


def steps_of(plan, rank, number, start=0):
    return [step.tolist() for step in islice(plan.steps(rank, start), number)]


def pieces_of_a_pass(plan, rank):
    pieces, steps = plan.passes(rank), 0
    while steps < plan.steps_per_pass:
        rows, ends = next(pieces)
        steps += len(ends)
        yield rows, ends
    assert steps == plan.steps_per_pass


@swept
@given(plan=plans, pass_index=st.integers(0, 3))
def test_a_pass_takes_every_row_once(sizes, plan, pass_index):
    start = pass_index * plan.steps_per_pass
    for rank, count in enumerate(plan.counts):
        steps = steps_of(plan, rank, plan.steps_per_pass, start)
        assert [len(step) for step in steps] == plan.shares(rank).tolist()
        rows = sum(steps, [])
        assert rows == plan.order(rank, pass_index).tolist()
        assert (sorted(rows) if plan.shuffle else rows) == list(range(count))


@swept
@given(plan=plans, start=st.integers(0, 60))
def test_a_start_in_the_middle_goes_on_with_the_very_next_rows(sizes, plan, start):
    for rank in range(len(plan.counts)):
        unbroken = steps_of(plan, rank, start + 5)
        assert steps_of(plan, rank, 5, start) == unbroken[start:]


@swept
@given(plan=plans)
def test_pieces_are_whole_steps_of_bounded_size(sizes, plan):
    for rank, count in enumerate(plan.counts):
        largest = int(plan.shares(rank).max())
        pieces = list(pieces_of_a_pass(plan, rank))
        for rows, ends in pieces:
            assert len(ends)
            assert len(rows) == ends[-1]
        if count <= plan.window:
            assert len(pieces) == 1
        elif not plan.shuffle:
            assert max(len(rows) for rows, _ in pieces) <= order.HAND_ROWS + largest


@swept
@given(plan=plans)
def test_a_worker_whose_rows_fit_takes_them_as_without_a_limit(sizes, plan):
    unlimited = PlacedPlan(
        counts=plan.counts, batch_size=plan.batch_size, seed=plan.seed, shuffle=plan.shuffle
    )
    for rank, count in enumerate(plan.counts):
        if count <= plan.window or not plan.shuffle:
            assert plan.order(rank, 1).tolist() == unlimited.order(rank, 1).tolist()


def test_passes_and_ranks_and_seeds_and_windows_differ():
    orders = [
        plan.order(rank, pass_index)
        for plan in (
            PlacedPlan(counts=(300, 300), batch_size=10, seed=3, window=100),
            PlacedPlan(counts=(300, 300), batch_size=10, window=100),
        )
        for rank in (0, 1)
        for pass_index in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 8
    assert (
        PlacedPlan(counts=(300,), batch_size=10, window=50).order(0, 0).tolist()
        != orders[4].tolist()
    )


def test_a_start_computes_one_window_only(monkeypatch):
    asked = []
    shuffled = order._shuffled
    monkeypatch.setattr(
        order, "_shuffled", lambda *given: (asked.append(given[2]), shuffled(*given))[1]
    )
    plan = PlacedPlan(counts=(COUNT,), batch_size=100, window=WINDOW)
    next(plan.passes(0, plan.steps_per_pass - 50))
    assert len(asked) == 1


@pytest.mark.parametrize("shuffle", [True, False])
def test_nobody_holds_an_index_of_all_rows(shuffle):
    plan = PlacedPlan(counts=(5_000_000,), batch_size=10_000, shuffle=shuffle, window=200_000)
    plan.shares(0)
    tracemalloc.start()
    rows = sum(len(rows) for rows, _ in pieces_of_a_pass(plan, 0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 5_000_000
    # Dealing a window takes some tens of bytes a row, all rows' numbers would take 40 MB.
    assert peak < 8e6


def rank_correlation(rows):
    return np.corrcoef(np.arange(len(rows)), rows)[0, 1]


def runs(labels):
    return 1 + np.count_nonzero(np.diff(labels))


def is_close_to_uniform(rows, labels=2):
    """Whether an order is one that a uniform permutation might have been.

    The bounds are four standard deviations: of the rank correlation of a permutation of the
    blocks, of which there are ten times `order.BLOCKS`; of the runs of labels that were sorted
    before, of which each window has its own proportions, those of a sample of its blocks.
    """
    count, share = len(rows), 1 / labels
    expected = 1 + (count - 1) * (1 - share)
    spread = np.sqrt(count * share * (1 - share))
    sampling = (count - 1) * (1 - share) / 1024
    return bool(
        abs(rank_correlation(rows)) < 4 / np.sqrt(10 * 1024)
        and abs(runs(rows * labels // count) - expected) < 4 * spread + sampling
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labels", [2, 10])
def test_the_order_is_close_to_uniform(seed, labels):
    assert is_close_to_uniform(np.random.default_rng(seed).permutation(COUNT), labels)
    assert is_close_to_uniform(
        PlacedPlan(counts=(COUNT,), batch_size=100, seed=seed, window=WINDOW).order(0, 0), labels
    )


@pytest.mark.parametrize("seed", range(3))
def test_every_step_is_mixed_as_a_uniform_order_would_mix_it(seed):
    """Labels that the rows were sorted by come in every step in about their proportion."""
    found = (
        PlacedPlan(counts=(COUNT,), batch_size=500, seed=seed, window=WINDOW)
        .order(0, 0)
        .reshape(-1, 500)
    )
    ones = (found >= COUNT // 2).mean(axis=1)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(500)
    assert np.std(ones) < 1.2 * 0.5 / np.sqrt(500)


def test_neither_level_alone_would_pass(monkeypatch):
    rows = np.arange(COUNT)
    generator = np.random.default_rng(0)
    only_rows = np.concatenate([generator.permutation(w) for w in rows.reshape(-1, WINDOW)])
    only_blocks = generator.permutation(rows.reshape(-1, 20)).reshape(-1)
    assert not is_close_to_uniform(only_rows)
    assert not is_close_to_uniform(only_blocks)
    assert not is_close_to_uniform(rows)
    monkeypatch.setattr(order, "BLOCKS", 1)
    assert not is_close_to_uniform(
        PlacedPlan(counts=(COUNT,), batch_size=100, window=WINDOW).order(0, 0)
    )


def test_the_hands_of_a_window_are_one_uniform_permutation(monkeypatch):
    """Where each row comes to stand, over many orders, is any place as often as any other."""
    monkeypatch.setattr(order, "HAND_ROWS", 3)
    monkeypatch.setattr(order, "_DEAL_ROWS", 4)
    times = np.zeros((6, 6))
    for seed in range(3000):
        found = np.concatenate(list(order._shuffled(6, (seed, 0, 0), 1, 0)))
        times[np.arange(6), found] += 1
    # Chi-squared with 25 degrees of freedom; 60 is beyond one in ten thousand.
    assert ((times - 500) ** 2 / 500).sum() < 60


def test_windows_are_of_one_size():
    """No window is a remainder with few blocks, whose rows would be neighbours of each other."""
    plan = PlacedPlan(counts=(21_000,), batch_size=10, window=20_000)
    first, second = np.split(plan.order(0, 0), 2)
    for half in (first, second):
        assert abs(half.mean() - 10_500) < 21_000 / np.sqrt(12 * 500)


def test_the_last_block_is_shorter():
    found = np.concatenate(list(by_windows(10_001, 5_000, KEY)))
    assert sorted(found.tolist()) == list(range(10_001))


def test_rows_of_a_window_are_those_that_the_budget_holds():
    spec = FeatureSpec(
        features=(
            ColumnSpec(name="a", dtype="int32"),
            ColumnSpec(name="v", dtype="float32", shape=(10, 2)),
            ColumnSpec(name="b", dtype="bool"),
        ),
        labels=(
            ColumnSpec(name="y", dtype="int64"),
            ColumnSpec(name="s", dtype="string"),
            ColumnSpec(name="a", dtype="int32"),
        ),
    )
    width = 4 + 80 + 1 + 8 + 64 + 8
    assert window_rows(spec, 10 * width) == 10
    assert window_rows(spec, 10 * width - 1) == 9
    assert window_rows(spec, 1) == 1


def test_a_window_without_rows_is_refused():
    with pytest.raises(ValueError, match="window"):
        PlacedPlan(counts=(2,), batch_size=1, window=0)
