"""Over a creator's loader, Orca comes to what the framework alone comes to over the same loader."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.frameworks.bench import MOMENTUM, Bench
from tests.frameworks.creators.created import (
    BATCH,
    NOTHING,
    all_rows,
    batch,
    created,
    cut,
    train,
)
from tests.frameworks.families import FAMILIES
from tests.frameworks.ranks import SEED, job_of, plugin_of, same_on_all
from zoo.orca.wire.job import EvaluateJob
from zoo.orca.worker.plugin import World

pytestmark = pytest.mark.timeout(300)

EPOCHS = 2
CLASS_WEIGHT = {0: 0.25, 1: 2.0, 2: 1.5}


@pytest.fixture
def one_of_each(bench: Bench) -> Bench:
    """One framework of each kind: the other backends of Keras take the same way as JAX."""
    if bench.family in (FAMILIES["keras-tensorflow"], FAMILIES["keras-torch"]):
        pytest.skip("Keras 3 is tried on JAX")
    return bench


def of_rows(kind: str, members: Callable[[dict[str, np.ndarray]], Any]) -> Any:
    """A creator of a loader of a kind, whose batches are `members` of so many rows."""

    def creator(config, batch_size):
        if kind == "pipeline":
            import tensorflow as tf

            return tf.data.Dataset.from_tensor_slices(members(all_rows())).batch(batch_size)
        rows = [members(cut(all_rows(), k, k + 1)) for k in range(100)]
        if kind == "loader":
            import torch
            from torch.utils.data import DataLoader

            def joined(items):
                return _mapped(items, lambda values: torch.from_numpy(np.concatenate(values)))

            return DataLoader(rows, batch_size=batch_size, collate_fn=joined)
        # What each worker makes is its own: its part of every global batch.
        size, rank = config["size"], config["rank"]

        def made():
            for start in range(0, 100, config["batch_size"] * size):
                whole = min(config["batch_size"] * size, 100 - start)
                low, high = start + rank * whole // size, start + (rank + 1) * whole // size
                yield members(cut(all_rows(), low, high))

        return made()

    return creator


def _mapped(items: list[Any], join: Callable[[list[np.ndarray]], Any]) -> Any:
    if isinstance(items[0], tuple):
        return tuple(_mapped(list(members), join) for members in zip(*items, strict=True))
    return join(items)


def check_kind(kind: str, bench: Bench) -> None:
    """Skip loaders that are not for a framework."""
    if kind == "pipeline" and bench.family.framework == "torch":
        pytest.skip("not for PyTorch")
    if kind == "loader" and bench.family.framework == "tf2":
        pytest.skip("not for Keras 2")


def weighted(framework: str) -> Callable[[dict[str, np.ndarray]], Any]:
    """Members of a batch with the rows' weights."""
    return lambda rows: (*batch(framework, rows), rows["w"])


def classes(rows: dict[str, np.ndarray]) -> Any:
    """Members of a batch of the classifier."""
    return rows["x"], rows["label"]


def keras_alone(
    creator: Any, model: Any, config: dict[str, Any], **arguments: Any
) -> tuple[list[np.ndarray], dict[str, list[float]], dict[str, float]]:
    """Keras's own `fit` and `evaluate` over the loader; runs where Keras is."""
    if config["keras"] == 2:
        from tensorflow import keras
    else:
        import keras
    keras.backend.clear_session()
    keras.utils.set_random_seed(SEED)
    made = model(config)
    alone = {"rank": 0, "size": 1, "batch_size": BATCH}
    history: dict[str, list[float]] = {}
    for _ in range(EPOCHS):  # a generator has one pass
        data = creator(alone, BATCH)
        told = made.fit(data, epochs=1, verbose=0, shuffle=False, **arguments).history
        for name, values in told.items():
            history.setdefault(name, []).extend(float(value) for value in values)
    told = made.evaluate(creator(alone, BATCH), verbose=0, return_dict=True)
    return made.get_weights(), history, {name: float(value) for name, value in told.items()}


def torch_alone(
    creator: Any, make: Any, config: dict[str, Any]
) -> tuple[list[np.ndarray], dict[str, list[float]], dict[str, float]]:
    """A loop as one writes it in PyTorch; runs where PyTorch is."""
    import torch

    torch.manual_seed(SEED)
    model = make(config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    alone = {"rank": 0, "size": 1, "batch_size": BATCH}

    def epoch(learns: bool) -> float:
        total = rows = 0.0
        for x, y, *rest in creator(alone, BATCH):
            # A generator's are arrays.
            x, y = [torch.as_tensor(one) for one in x], torch.as_tensor(y)
            losses = (model(*x) - y) ** 2
            if rest:
                losses = losses * torch.as_tensor(rest[0])
            loss = losses.mean()
            if learns:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total, rows = total + float(loss) * len(y), rows + len(y)
        return total / rows

    history = {"loss": [epoch(True) for _ in range(EPOCHS)]}
    with torch.no_grad():
        told = {"loss": epoch(False)}
    return [value.numpy() for value in model.state_dict().values()], history, told


def evaluated(bench: Bench, model: Any, data: Any, workers: int, state: Any) -> dict[str, float]:
    """What an evaluation comes to with the weights of a state."""
    job = job_of(
        EvaluateJob,
        model,
        NOTHING,
        framework=bench.family.framework,
        config=bench.config(MOMENTUM),
        batch_size=BATCH,
        state=state,
    )
    given = created(data, "evaluate", config=bench.config(MOMENTUM))
    job = replace(job, creator=given.creator)

    def run(collective):
        plugin = plugin_of(job)
        plugin.prepare(job, 1)
        world = World(collective=collective, report=lambda progress: None)
        return plugin.evaluate(job, given, world).metrics

    first, *others = bench.ranks.run([run] * workers)
    assert all(other == first for other in others)
    return dict(first)


def check(bench: Bench, model: Any, data: Any, workers: int, expected: Any, **fields: Any) -> None:
    """Train and evaluate, and compare with what the framework alone came to."""
    weights, history, told = expected
    # Not Adam, which makes a whole step of a difference in a gradient's last bit.
    fields.setdefault("config", bench.config(MOMENTUM))
    framework = bench.family.framework
    ran = train(bench.ranks, model, data, workers, framework=framework, epochs=EPOCHS, **fields)
    same_on_all(ran)
    # The sums of several workers are added up in another order.
    limit = {"rtol": 1e-6, "atol": 1e-6} if workers == 1 else {"rtol": 2e-5, "atol": 1e-5}
    found = list(ran[0].weights().values())
    assert len(found) == len(weights)
    for ours, theirs in zip(found, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, **limit)
    for name, values in history.items():
        np.testing.assert_allclose(ran[0].trained.history[name], values, err_msg=name, **limit)
    seen = evaluated(bench, model, data, workers, ran[0].trained.state)
    if framework == "torch":
        assert seen.pop("num_samples") == 100
    assert set(told) <= set(seen)
    for name, value in told.items():
        np.testing.assert_allclose(seen[name], value, err_msg=name, **limit)


def alone(bench: Bench, data: Any, model: Any, **arguments: Any) -> Any:
    """What the framework alone comes to."""
    config = bench.config(MOMENTUM)
    if bench.family.framework == "torch":
        from zoo.orca.wire.packing import unpack

        return bench.ranks.alone(lambda: torch_alone(data, unpack(model["model"])[0], config))
    return bench.ranks.alone(lambda: keras_alone(data, model, config, **arguments))


@pytest.mark.parametrize("kind", ["pipeline", "loader", "generator"])
def test_rows_and_their_weights(one_of_each: Bench, kind: str) -> None:
    check_kind(kind, one_of_each)
    model = one_of_each.family.embedding
    data = of_rows(kind, weighted(one_of_each.family.framework))
    expected = alone(one_of_each, data, model)
    for workers in (1, 2):
        check(one_of_each, model, data, workers, expected)


@pytest.mark.parametrize("kind", ["pipeline", "loader", "generator"])
def test_weights_of_classes(one_of_each: Bench, kind: str) -> None:
    check_kind(kind, one_of_each)
    if not one_of_each.family.class_weights:
        pytest.skip("PyTorch's losses have weights of their own")
    model = one_of_each.family.classifier
    data = of_rows(kind, classes)
    # Keras 3 itself takes them with no loader but this one; all hand out the same batches.
    pipeline = of_rows("pipeline", classes)
    expected = alone(one_of_each, pipeline, model, class_weight=CLASS_WEIGHT)
    plain = alone(one_of_each, pipeline, model)
    assert abs(plain[1]["loss"][0] - expected[1]["loss"][0]) > 0.01
    for workers in (1, 2):
        check(one_of_each, model, data, workers, expected, class_weight=CLASS_WEIGHT)
