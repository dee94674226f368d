"""Steps are those of the plan, gathered a few at a time; a step without rows has one, uncounted."""

import itertools

import numpy as np
import pytest

from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.worker.rows import steps as steps_module
from zoo.orca.worker.rows.steps import Steps

pytestmark = pytest.mark.timeout(60)


def make(plan, rank):
    """Return the steps of a rank whose rows are their own numbers, and as wide rows."""
    numbers = np.arange(max(plan.counts[rank], 1))
    columns = {"row": numbers, "wide": np.stack([numbers, -numbers], axis=1).astype(np.float32)}
    return Steps(plan, rank, columns, lambda found: {**found, "row": found["row"][:, None]})


def taken(steps, start, count):
    """Return, for each step, its row numbers with what fills them up, its rows, and all ranks'."""
    found = []
    for arrays, rows, of in steps.take(start, count):
        assert arrays["row"].shape == (len(rows), max(rows.max(), 1), 1)
        assert (arrays["wide"] == arrays["row"] * [1, -1]).all()
        if not steps.is_ragged:
            assert set(rows.tolist()) == {arrays["row"].shape[1]}
        found += zip(arrays["row"][..., 0].tolist(), rows.tolist(), of.tolist(), strict=True)
    assert len(found) == count
    return found


@pytest.mark.parametrize("counts", [(23,), (24, 24), (17, 30), (20, 0, 3), (2, 1, 0)])
@pytest.mark.parametrize("batch_size", [1, 4, 50])
@pytest.mark.parametrize("chunk_bytes", [0, 100, 1 << 20])
@pytest.mark.parametrize(("window", "shuffle"), [(None, True), (7, True), (7, False)])
def test_steps_follow_the_plan(counts, batch_size, chunk_bytes, window, shuffle, monkeypatch):
    monkeypatch.setattr(steps_module, "_CHUNK_BYTES", chunk_bytes)
    plan = PlacedPlan(counts=counts, batch_size=batch_size, seed=3, shuffle=shuffle, window=window)
    for rank in range(len(counts)):
        steps, expected = make(plan, rank), plan.steps(rank)
        position = 0
        for count in (1, 2 * plan.steps_per_pass + 1, 3):
            for chosen, rows, of in taken(steps, position, count):
                planned = next(expected)
                assert rows == len(planned)
                assert chosen[:rows] == planned.tolist()
                assert 0 < of <= batch_size
            position += count
        again = taken(make(plan, rank), position, 5)
        for (chosen, rows, _), planned in zip(again, itertools.islice(expected, 5), strict=True):
            assert chosen[:rows] == planned.tolist()


def test_equal_steps_share_a_chunk():
    plan = PlacedPlan(counts=(1000,), batch_size=10)
    chunks = [len(rows) for _, rows, _ in make(plan, 0).take(0, 150)]
    assert chunks == [64, 36, 50]


def test_the_sample_is_in_its_final_shape():
    assert make(PlacedPlan(counts=(5,), batch_size=2), 0).sample()["row"].tolist() == [[0], [1]]
