"""Training on creators' data equals one worker's, whatever kind of loader they make."""

from typing import Any

import numpy as np
import pytest

from tests.frameworks.bench import Bench, close
from tests.frameworks.creators.created import BATCH, all_rows, batch, cut, on
from tests.frameworks.ranks import same_on_all
from zoo.orca.wire.plans.live import LivePlan

pytestmark = pytest.mark.timeout(300)


def own(framework: str) -> Any:
    """A generator of each worker's own batches: its part of each global one."""

    def creator(config, batch_size):
        rows = all_rows()
        size, rank = config["size"], config["rank"]
        assert batch_size * size == BATCH == config["batch_size"] * size
        for start in range(0, 100, BATCH):
            whole = cut(rows, start, start + BATCH)
            left = len(whole["x"])
            mine = cut(whole, rank * left // size, (rank + 1) * left // size)
            if len(mine["x"]):
                yield batch(framework, mine)

    return creator


def loader(framework: str, shuffle: bool = False) -> Any:
    """A DataLoader of rows that are dealt out."""

    def creator(config, batch_size):
        import torch
        from torch.utils.data import DataLoader

        rows = all_rows()
        items = [batch(framework, cut(rows, k, k + 1)) for k in range(100)]
        items = [((x[0], u[0]), y[0]) for (x, u), y in items]

        class Items(torch.utils.data.Dataset):
            def __len__(self):
                return len(items)

            def __getitem__(self, k):
                return items[k]

        return DataLoader(Items(), batch_size=batch_size, shuffle=shuffle)

    return creator


def pipeline(framework: str, shuffle: bool = False) -> Any:
    """A tf.data pipeline, which is dealt out by batches."""

    def creator(config, batch_size):
        import tensorflow as tf

        made = tf.data.Dataset.from_tensor_slices(batch(framework, all_rows()))
        return (made.shuffle(1000) if shuffle else made).batch(batch_size).prefetch(2)

    return creator


def sequence(framework: str) -> Any:
    """A PyDataset of Keras 3, or a Sequence of Keras 2, dealt out by batches."""

    def creator(config, batch_size):
        if framework == "tf2":
            from tf_keras.utils import Sequence as Base
        else:
            from keras.utils import PyDataset as Base

        class Batches(Base):
            def __len__(self):
                return -(-100 // batch_size)

            def __getitem__(self, k):
                start = k * batch_size
                return batch(framework, cut(all_rows(), start, start + batch_size))

        return Batches()

    return creator


KINDS = {"generator": own, "loader": loader, "pipeline": pipeline, "sequence": sequence}


def of(bench: Bench, kind: str, **arguments: Any) -> Any:
    """A creator, or a skip where the packages are not those of the framework."""
    framework = bench.family.framework
    if kind in ("pipeline", "sequence") and framework == "torch":
        pytest.skip("not for PyTorch")
    return KINDS[kind](framework, **arguments)


@pytest.mark.parametrize("kind", list(KINDS))
def test_workers_equal_one(bench: Bench, kind: str):
    runs = {n: on(bench, of(bench, kind), n, epochs=2) for n in (1, 2, 3)}
    for ran in runs.values():
        same_on_all(ran)
    alone = runs[1][0]
    for ran in (runs[2], runs[3]):
        close(ran[0].weights(), alone.weights())
        for name, values in alone.trained.history.items():
            np.testing.assert_allclose(ran[0].trained.history[name], values, rtol=2e-5, atol=1e-6)


def test_steps_per_epoch_and_of_validation(bench: Bench):
    if bench.family.framework == "torch":
        pytest.skip("test_torch has them")
    steps = {"epochs": 2, "steps_per_epoch": 3, "validation_steps": 2}
    data = of(bench, "pipeline")
    one, two = (on(bench, data, n, validation=data, **steps)[0] for n in (1, 2))
    close(two.weights(), one.weights())
    for name, values in one.trained.history.items():
        np.testing.assert_allclose(two.trained.history[name], values, rtol=2e-5, atol=1e-6)


def test_one_worker_goes_on_where_it_stopped_in_a_pipeline(bench: Bench):
    if bench.family.framework == "torch":
        pytest.skip("not for PyTorch")
    data, steps = of(bench, "pipeline"), {"steps_per_epoch": 3}
    whole = on(bench, data, 1, epochs=3, **steps)[0]
    half = on(bench, data, 1, **steps)[0]
    # Of the 5 steps of a pass, whether Python is called in each or not.
    assert half.trained.state.meta["cursor"]["step"] == 3
    rest = on(bench, data, 1, epochs=2, initial_epoch=1, state=half.trained.state, **steps)[0]
    close(rest.weights(), whole.weights())
    for found in (whole, rest):
        place = found.trained.state.meta["cursor"]
        assert (place["pass"], place["step"]) == (1, 4)
    passed = on(bench, data, 1, epochs=2)[0].trained.state.meta["cursor"]
    assert (passed["pass"], passed["step"]) == (2, 0)


def test_steps_that_something_counts_are_those_that_are_told():
    told, counted = (LivePlan(0, 1, 10) for _ in range(2))
    counted.expected = 4
    new: list[int] = []

    def count() -> tuple[int, int]:
        answer = len(new), sum(new)
        new.clear()
        return answer

    counted.follow(count)
    for step, rows in enumerate([10, 10, 10, 7] * 2):
        new.append(rows)
        told.note([rows])
        if step % 3 == 0:  # it is asked now and then
            assert counted.rows == told.rows
        if step == 3:
            told.end_pass()
    assert counted.within == told.within == 4
    assert counted.taken(2) == told.taken(2) == 6
    assert counted.counts == told.counts
    assert counted.told(0, 8).sum() == told.told(0, 8).sum() == 74
    assert [counted.place(step) for step in range(8)] == [told.place(step) for step in range(8)]
    counted.finish_pass()
    assert (counted.pass_index, counted.within) == (2, 0)
    new.append(10)
    counted.begin(0, 0, 0)
    assert (counted.within, counted.taken(0)) == (0, 0)
