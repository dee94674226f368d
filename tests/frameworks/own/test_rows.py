"""A worker's rows: whole, in steps, and as datasets of PyTorch and TensorFlow."""

from typing import Any

import numpy as np
import pytest

from zoo.orca.errors import WorkerError
from zoo.orca.frameworks.own.rows import WorkerRows
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.padding import Padding
from zoo.orca.wire.plans.canonical import CanonicalPlan
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.worker.plugin import Rows

pytestmark = pytest.mark.timeout(120)

SPEC = FeatureSpec(
    features=(
        ColumnSpec(name="x", dtype="float32", shape=(2,)),
        ColumnSpec(name="word", dtype="string"),
        ColumnSpec(name="raw", dtype="string", binary=True),
    ),
    labels=(ColumnSpec(name="y", dtype="int64"),),
)


def table(rows: int) -> dict[str, np.ndarray]:
    return {
        "x": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2),
        "word": np.array([f"ü{n}".encode() for n in range(rows)], object),
        "raw": np.array([bytes([n]) for n in range(rows)], object),
        "y": np.arange(rows),
    }


def placed(counts: tuple[int, ...]) -> list[WorkerRows]:
    """Every worker's rows, where they lay."""
    plan = PlacedPlan(counts=counts, batch_size=len(counts), seed=3)
    ends = np.cumsum([0, *counts])
    whole = table(sum(counts))
    return [
        WorkerRows(
            Rows(
                spec=SPEC,
                columns={name: v[ends[rank] : ends[rank + 1]] for name, v in whole.items()},
                plan=plan,
            ),
            rank,
        )
        for rank in range(len(counts))
    ]


def in_sequence(rows: int, workers: int) -> list[WorkerRows]:
    """Every worker's rows of a sequence; in the file they lie in another order."""
    found, start = [], 0
    whole = table(rows)
    for rank in range(workers):
        plan = CanonicalPlan(rows=rows, workers=workers, batch_size=workers, seed=3)
        count = plan.counts[rank]
        places = np.random.default_rng(rank).permutation(count + 1)[:count]
        # One row more than it has: it was given away.
        columns = {}
        for name, values in whole.items():
            lying = np.repeat(values[:1], count + 1, axis=0)
            lying[places] = values[start : start + count]
            columns[name] = lying
        plan = CanonicalPlan(rows=rows, workers=workers, batch_size=workers, seed=3, places=places)
        found.append(WorkerRows(Rows(spec=SPEC, columns=columns, plan=plan), rank))
        start += count
    return found


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_all_workers_rows_are_one_sequence(workers: int) -> None:
    parts = in_sequence(20, workers)
    assert np.concatenate([part["y"] for part in parts]).tolist() == list(range(20))
    whole = table(20)
    np.testing.assert_array_equal(np.concatenate([part["x"] for part in parts]), whole["x"])
    assert [one for part in parts for one in part["word"]] == [f"ü{n}" for n in range(20)]
    assert [one for part in parts for one in part["raw"]] == [bytes([n]) for n in range(20)]
    assert [part.total for part in parts] == [20] * workers
    assert [part.count for part in parts] == [len(part["y"]) for part in parts]
    assert dict(parts[0]).keys() == {"x", "word", "raw", "y"} and len(parts[0]) == 4
    assert parts[0].features == ("x", "word", "raw") and parts[0].labels == ("y",)
    with pytest.raises(ValueError, match="read-only"):
        parts[0]["y"][0] = 1
    with pytest.raises(KeyError, match="none of the columns"):
        parts[0]["z"]


def steps_of(parts: list[WorkerRows], batch_size: int, epoch: int) -> list[list[int]]:
    """The labels of each step over all workers."""
    each = [list(part.batches(batch_size, epoch)) for part in parts]
    assert {len(one) for one in each} == {parts[0].steps(batch_size)}
    for step in zip(*each, strict=True):
        assert {batch.of for batch in step} == {sum(batch.rows for batch in step)}
        for batch in step:
            assert all(len(values) == batch.rows for values in batch.values())
            np.testing.assert_array_equal(batch["x"][:, 0], 2 * batch["y"])
            assert [f"ü{n}" for n in batch["y"]] == batch["word"].tolist()
    return [sorted(n for batch in step for n in batch["y"]) for step in zip(*each, strict=True)]


@pytest.mark.parametrize("epoch", [0, 2])
def test_the_steps_do_not_depend_on_the_workers(epoch: int) -> None:
    for batch_size in (3, 6, 50):
        alone = steps_of(in_sequence(20, 1), batch_size, epoch)
        assert sorted(sum(alone, [])) == list(range(20))
        for workers in (2, 3):
            assert steps_of(in_sequence(20, workers), batch_size, epoch) == alone
    assert steps_of(in_sequence(20, 1), 6, 0) != steps_of(in_sequence(20, 1), 6, 1)


def test_a_worker_without_rows_takes_empty_steps() -> None:
    parts = placed((7, 0, 2))
    found = steps_of(parts, 4, 1)
    assert sorted(sum(found, [])) == list(range(9))
    none = list(parts[1].batches(4))
    assert [(one.rows, one.of) for one in none] == [(0, 4), (0, 4), (0, 1)]
    assert none[0]["x"].shape == (0, 2)


@pytest.mark.parametrize(
    "given", [{"batch_size": 0}, {"batch_size": 1.5}, {"batch_size": True}, {"epoch": -1}]
)
def test_numbers_that_are_none_are_refused_at_once(given: dict[str, Any]) -> None:
    (rows,) = placed((4,))
    (name,) = given
    with pytest.raises(WorkerError, match=f"{name} must be a whole number from"):
        rows.batches(**{"batch_size": 2, **given})
    assert len(list(rows.batches(np.int64(2)))) == 2


# The loader's process is forked, and a test before may have imported JAX, which warns of it.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_pytorch_gets_the_rows_and_the_steps() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader

    rows = in_sequence(20, 2)[1]
    table = rows.torch_dataset()
    assert len(table) == rows.count
    assert torch.equal(table[3]["x"], torch.from_numpy(rows["x"][3].copy()))
    assert table[3]["word"] == rows["word"][3] and table[3]["y"] == rows["y"][3]
    loaded = list(DataLoader(table, batch_size=4))
    np.testing.assert_array_equal(torch.cat([one["y"] for one in loaded]), rows["y"])

    steps = rows.torch_dataset(6, epoch=1)
    loader = DataLoader(steps, batch_size=None)
    assert len(loader) == rows.steps(6) == 4
    for epoch in (1, 2, 7):
        if epoch == 7:
            steps.set_epoch(7)
        for one, other in zip(loader, rows.batches(6, epoch), strict=True):
            np.testing.assert_array_equal(one["x"], other["x"])
            assert one["word"] == other["word"].tolist()
    assert [int(one["n"]) for one in rows.torch_dataset(6, of="n")] == [6, 6, 6, 2]
    with pytest.raises(WorkerError, match="DataLoader.dataset, batch_size=None"):
        list(DataLoader(steps, batch_size=None, num_workers=1))


def test_masks_of_padded_columns_are_there_by_their_names() -> None:
    history = ColumnSpec(name="h", dtype="int64", shape=(2,), padding=Padding(value=0))
    mask = ColumnSpec(name="m", dtype="bool", shape=(2,), mask_of="h")
    whole = {"h": np.array([[1, 0], [2, 3], [4, 0]]), "m": np.array([[1, 0], [1, 1], [1, 0]]) > 0}
    plan = PlacedPlan(counts=(3,), batch_size=1, seed=0)
    rows = WorkerRows(Rows(spec=FeatureSpec(features=(history, mask)), columns=whole, plan=plan), 0)
    assert rows.features == tuple(rows) == ("h", "m")
    np.testing.assert_array_equal(rows["m"], whole["m"])
    for step in rows.batches(2):
        np.testing.assert_array_equal(step["m"], step["h"] > 0)


@pytest.mark.slow
def test_tensorflow_gets_the_rows_and_the_steps(ranks: Any) -> None:
    def compare() -> None:
        rows = in_sequence(20, 2)[1]
        one_by_one = list(rows.tf_dataset().as_numpy_iterator())
        assert [one["y"] for one in one_by_one] == rows["y"].tolist()
        assert one_by_one[0]["word"].decode() == rows["word"][0]
        dataset = rows.tf_dataset(6, epoch=1)
        assert dataset.cardinality() == 4
        for one, other in zip(dataset.as_numpy_iterator(), rows.batches(6, 1), strict=True):
            np.testing.assert_array_equal(one["x"], other["x"])
            assert [word.decode() for word in one["word"]] == other["word"].tolist()
            assert one["raw"].tolist() == other["raw"].tolist()

    ranks.alone(compare)
