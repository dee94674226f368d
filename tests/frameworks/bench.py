"""What the tests of all frameworks ask of one: its ranks, and rows for its models."""

from typing import Any

import numpy as np

from tests.frameworks.families import Family
from tests.frameworks.ranks import Data, Ran, Ranks, same_on_all, train

BATCH, ROWS, EPOCHS = 20, 100, 2
SGD = ("SGD", {"learning_rate": 0.1})
MOMENTUM = ("SGD", {"learning_rate": 0.05, "momentum": 0.9})
ADAM = ("Adam", {"learning_rate": 0.01})


class Bench:
    """One framework's ranks, and how they are asked."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.ranks = Ranks(environment=family.environment)

    def config(self, optimizer: Any = ADAM, **more: Any) -> dict[str, Any]:
        """What creators are called with."""
        return {**self.family.config, "optimizer": optimizer, **more}

    def train(self, creator: Any, data: Data, **fields: Any) -> list[Ran]:
        """Train on as many ranks as the data has."""
        fields.setdefault("config", self.config())
        fields.setdefault("batch_size", BATCH)
        return train(self.ranks, creator, data, framework=self.family.framework, **fields)

    def check(
        self, creator: Any, data: Data, *, validation: Data | None = None, **fields: Any
    ) -> list[Ran]:
        """Train on several ranks, and on one that gets the same global batches."""
        ran = self.train(creator, data, validation=validation, epochs=EPOCHS, **fields)
        same_on_all(ran)
        steps = data.plan(BATCH).steps_per_pass
        alone = self.train(
            creator,
            data.in_order(BATCH, EPOCHS * steps),
            validation=validation.merged() if validation is not None else None,
            epochs=EPOCHS,
            steps_per_epoch=steps,
            shuffle=False,
            **fields,
        )[0]
        close(ran[0].weights(), alone.weights())
        for name, values in alone.trained.history.items():
            np.testing.assert_allclose(ran[0].trained.history[name], values, rtol=2e-5, atol=1e-6)
        return ran


def close(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """Every tensor equals its namesake to 1e-5."""
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def columns(rows: int = ROWS) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    x = random.normal(size=(rows, 4)).astype(np.float32)
    return {
        "x": x,
        "u": random.integers(0, 500, rows).astype(np.int32),
        "label": random.integers(0, 3, rows).astype(np.int32),
        "flag": random.integers(0, 2, rows).astype(np.int32),
        "y": (x.sum(axis=1) + random.normal(size=rows)).astype(np.float32),
        "w": random.uniform(0.1, 3.0, rows).astype(np.float32),
    }


def embedded(counts: tuple[int, ...], **more: Any) -> Data:
    return Data.of(columns(sum(counts)), counts, features=("x", "u"), **more)
