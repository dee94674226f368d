"""Gradients are summed once: what else would distribute a model of Keras 3 is refused."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.ranks import Data, Failed, Ranks, train

pytestmark = pytest.mark.timeout(300)


def with_group(config):
    """A creator that makes a process group, as programs for one machine do."""
    from torch import distributed

    if not distributed.is_initialized():
        store = distributed.HashStore()
        distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    return models.classifier(config)


def without_group():
    from torch import distributed

    distributed.destroy_process_group()


def with_distribution(config):
    """A creator that asks Keras to spread batches over this process's devices."""
    import keras

    keras.distribution.set_distribution(keras.distribution.DataParallel())
    return models.classifier(config)


def without_distribution():
    import keras

    keras.distribution.set_distribution(None)


def rows():
    random = np.random.default_rng(0)
    columns = {
        "x": random.normal(size=(40, 4)).astype(np.float32),
        "label": random.integers(0, 3, 40).astype(np.int32),
    }
    return Data.of(columns, (40,), features=("x",), labels=("label",))


@pytest.fixture(params=["torch", "jax"])
def backend(request: pytest.FixtureRequest) -> Iterator[tuple[str, Ranks]]:
    made = Ranks({"KERAS_BACKEND": request.param, "TF_CPP_MIN_LOG_LEVEL": "3"})
    yield request.param, made
    made.close()


def test_a_second_way_to_sum_gradients_is_refused(backend):
    name, ranks = backend
    creator, undo, word = {
        "torch": (with_group, without_group, "init_process_group"),
        "jax": (with_distribution, without_distribution, "set_distribution"),
    }[name]
    data, config = rows(), {"keras": 3}
    with pytest.raises(Failed, match=f"ModelError.*\n.*{word}"):
        train(ranks, creator, data, framework="keras", config=config)
    ranks.alone(undo)
    ran = train(ranks, models.classifier, data, framework="keras", config=config)
    assert len(ran[0].trained.history["loss"]) == 1
