"""A transform on the workers equals the same done to the rows before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.frameworks.bench import BATCH, SGD, Bench, close, columns, embedded
from tests.frameworks.families import FAMILIES
from tests.frameworks.ranks import Data, Failed, Ran, evaluate, predict_job, predicted, same_on_all
from zoo.orca.errors import DataError

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def _few_families(bench: Bench) -> None:
    """Feeds are what differs: that of TensorFlow, that of Keras's others, and PyTorch's."""
    if bench.family in (FAMILIES["keras-tensorflow"], FAMILIES["keras-torch"]):
        pytest.skip("its feed is tried with another of Keras")


def packed_rows(counts: tuple[int, ...]) -> Data:
    """The rows of `embedded`, with x as bytes and y as text."""
    found: dict[str, Any] = columns(sum(counts))
    found["blob"] = np.array([row.tobytes() for row in found.pop("x")] + [None], object)[:-1]
    found["text"] = np.array([repr(float(y)).encode() for y in found["y"]] + [None], object)[:-1]
    return Data.of(found, counts, features=("blob", "u"), labels=("text",))


def unpacked(columns: dict[str, Any], training: bool) -> dict[str, Any]:
    """Bytes become four numbers, and text a number."""
    import numpy as np

    blobs = columns.pop("blob")
    found = {"x": np.stack([np.frombuffer(one, np.float32) for one in blobs]), **columns}
    if "text" in columns:
        found["text"] = np.array([float(one) for one in columns["text"]])
    return found


def jittered(columns: dict[str, Any], training: bool, random: Any) -> dict[str, Any]:
    if training:
        columns["x"] = columns["x"] + random.normal(size=columns["x"].shape)
    return columns


def doubled(columns: dict[str, Any], training: bool) -> dict[str, Any]:
    """In training each row a second time, with other numbers."""
    import numpy as np

    if not training:
        return columns
    found = {name: np.concatenate([values, values]) for name, values in columns.items()}
    half = len(columns["x"])
    found["x"][half:] *= -1
    found["w"][half:] += 1
    return found


def train(bench: Bench, data: Data, transform: Any = None, **fields: Any) -> list[Ran]:
    fields.setdefault("epochs", 2)
    return bench.train(
        bench.family.embedding,
        data,
        config=bench.config(SGD),
        batch_transform=transform,
        **fields,
    )


def same(ours: Ran, theirs: Ran) -> None:
    close(ours.weights(), theirs.weights())
    for name, values in theirs.trained.history.items():
        np.testing.assert_allclose(ours.trained.history[name], values, rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("counts", [(97, 3), (30, 41, 29)])
def test_a_transform_equals_rows_that_were_transformed_before(
    bench: Bench, counts: tuple[int, ...]
) -> None:
    if len(counts) == 3 and bench.family.framework == "keras":
        pytest.skip("three ranks are tried with one Keras")
    ours = train(bench, packed_rows(counts), unpacked, validation=packed_rows((20,) * len(counts)))
    plain = train(bench, embedded(counts), validation=embedded((20,) * len(counts)))
    same_on_all(ours)
    same(ours[0], plain[0])


def test_workers_equal_one(bench: Bench) -> None:
    data = packed_rows((47, 53))
    steps = data.plan(BATCH).steps_per_pass
    ours = train(bench, data, unpacked)
    alone = train(
        bench, data.in_order(BATCH, 2 * steps), unpacked, steps_per_epoch=steps, shuffle=False
    )
    same(ours[0], alone[0])


def test_rows_that_come_out_are_the_rows_of_the_mean(bench: Bench) -> None:
    data = embedded((47, 53), weight="w")
    steps = data.plan(BATCH).steps_per_pass
    ours = train(bench, data, doubled, validation=data)
    same_on_all(ours)
    batches = data.batches(BATCH, 2 * steps)
    twice = [
        doubled({name: values.copy() for name, values in one.items()}, True) for one in batches
    ]
    rows = {name: np.concatenate([one[name] for one in twice]) for name in twice[0]}
    alone = train(
        bench,
        Data([rows], data.spec),
        validation=data.merged(),
        batch_size=2 * BATCH,
        steps_per_epoch=steps,
        shuffle=False,
    )
    same(ours[0], alone[0])


def test_random_numbers_are_new_in_each_epoch_and_the_same_after_a_resumption(bench: Bench) -> None:
    data = embedded((47, 53))
    whole = train(bench, data, jittered, epochs=3)[0]
    first = train(bench, data, jittered, epochs=1)[0]
    rest = train(bench, data, jittered, epochs=2, initial_epoch=1, state=first.trained.state)[0]
    close(rest.weights(), whole.weights())
    assert any((rest.weights()[n] != v).any() for n, v in first.weights().items())
    # Nor do processes change anything.
    apart = train(bench, data, jittered, epochs=1, transform_processes=2)[0]
    close(apart.weights(), first.weights())


def test_evaluate_and_predict_transform_without_training(bench: Bench) -> None:
    state = train(bench, embedded((100,)))[0].trained.state
    common = {
        "batch_size": BATCH,
        "config": bench.config(SGD),
        "state": state,
        "framework": bench.family.framework,
    }
    creator = bench.family.embedding
    found = evaluate(
        bench.ranks, creator, packed_rows((80, 23)), batch_transform=unpacked, **common
    )
    plain = evaluate(bench.ranks, creator, embedded((80, 23)), **common)
    assert found[0] == found[1]
    np.testing.assert_allclose(list(found[0].values()), list(plain[0].values()), rtol=1e-5)
    del common["batch_size"]
    made = []
    for data, transform in ((packed_rows((30,)), unpacked), (embedded((30,)), None)):
        rows = {one.name: data.shards[0][one.name] for one in data.spec.features}
        spec = type(data.spec)(features=data.spec.features)
        job = predict_job(creator, spec, batch_transform=transform, **common)
        outputs, _ = bench.ranks.alone(predicted, job, rows)
        made.append(outputs[0])
    np.testing.assert_allclose(*made, rtol=1e-6)


def failure(bench: Bench, transform: Any, data: Data | None = None) -> str:
    """What the first rank that fails by itself says."""
    with pytest.raises(Failed) as caught:
        train(bench, data or packed_rows((47, 53)), transform, epochs=1)
    assert caught.value.kind is DataError, caught.value
    return caught.value.message


def shrinking(columns: dict[str, Any], training: bool) -> dict[str, Any]:
    found = unpacked(columns, training)
    return {name: values[: max(len(values) - 1, 2)] for name, values in found.items()}


def wider(columns: dict[str, Any], training: bool) -> dict[str, Any]:
    found = unpacked(columns, training)
    if len(found["x"]) > 2:
        found["x"] = found["x"][:, :3]
    return found


def test_an_error_in_mid_epoch_is_the_transforms_own(bench: Bench) -> None:
    told = failure(bench, shrinking)
    assert "batch_transform returned" in told and "rows for" in told
    told = failure(bench, wider)
    assert "batch_transform returned 'x' with rows of shape (3,) and float32 in one batch" in told


def test_text_is_refused_where_there_are_no_tensors_of_it(bench: Bench) -> None:
    if bench.family.framework != "torch":
        pytest.skip("Keras says so itself")
    told = failure(bench, lambda columns, training: columns)
    assert told.startswith("batch_transform returned 'blob' as text or bytes, and PyTorch has no")
