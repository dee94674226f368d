"""A job finds everything as in a fresh process, whatever the one before it has changed."""

import pytest

from tests.frameworks.bench import columns
from tests.frameworks.ranks import Data, job_of
from tests.frameworks.settings import warm
from zoo.orca.wire.job import BuildJob

pytestmark = pytest.mark.timeout(300)


def looking(config):
    """A creator that notes what it sees, and changes everything where it is told so."""
    import sys

    model = small(config)
    if config.get("keras"):
        import tensorflow  # noqa: F401  jobs on JAX and torch do not import it by themselves
    sys.seen_by_the_creator = warm.seen(config)
    if config.get("changes"):
        warm.change(config)
    return model


def small(config):
    if not config.get("keras"):
        import torch

        return torch.nn.Linear(4, 1)
    from tests.frameworks.models import keras_of

    keras = keras_of(config)
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(1)(x))


def test_settings_seeds_and_names_are_those_of_a_fresh_process(bench):
    data = Data.of(columns(), (100,), features=("x",), labels=())
    jobs = [
        job_of(
            BuildJob,
            bench.family.of_model(looking),
            data.spec,
            config=bench.config(changes=changes),
            framework=bench.family.framework,
        )
        for changes in (False, True, False, True, False)
    ]
    first, *others = bench.ranks.alone(warm.built, jobs, {"x": data.shards[0]["x"][:2]})
    assert len(first) > 8
    for other in others:
        assert other == first
    expected = {"keras floatx": "'float32'", "keras epsilon": "1e-07", "dtype": "torch.float32"}
    assert expected.items() >= {n: first[n] for n in expected if n in first}.items()


def test_the_next_jobs_training_is_what_it_was(bench):
    """Of all that was changed nothing reaches the numbers of a job after it."""
    data = Data.of(columns(), (100,), features=("x",), labels=("label",))
    config = bench.config()
    before = bench.train(bench.family.classifier, data, config=config)[0].trained
    changing = job_of(
        BuildJob,
        bench.family.of_model(looking),
        Data.of(columns(), (100,), features=("x",), labels=()).spec,
        config=bench.config(changes=True),
        framework=bench.family.framework,
    )
    bench.ranks.alone(warm.built, [changing], {"x": data.shards[0]["x"][:2]})
    after = bench.train(bench.family.classifier, data, config=config, epochs=1)[0].trained
    assert after.history == before.history
