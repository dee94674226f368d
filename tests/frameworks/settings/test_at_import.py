"""A framework that a job may never use is not imported, and is like any other once it is."""

import importlib
import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tests.frameworks.bench import columns
from tests.frameworks.ranks import SEED, Data, Ranks, job_of
from tests.frameworks.settings import warm
from zoo.orca.frameworks.creators.seeds import seed_all, seed_creator, seed_tensorflow
from zoo.orca.frameworks.settings.at_import import when_imported
from zoo.orca.wire.job import BuildJob


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that nobody has imported."""
    name = "a_framework_of_the_test"
    (tmp_path / f"{name}.py").write_text("ready = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield name
    sys.modules.pop(name, None)


class Called:
    """Notes what it is called with, and what the module was like then."""

    def __init__(self):
        self.names = []

    def __call__(self, name):
        assert sys.modules[name].ready
        self.names.append(name)


def test_what_waits_for_a_module_is_called_once_at_its_import(module):
    first, second = Called(), Called()
    when_imported(module, first)
    when_imported(module, first)
    when_imported(module, second)
    assert importlib.util.find_spec(module).name == module
    assert not first.names
    assert importlib.util.find_spec(module).name == module
    imported = importlib.import_module(module)
    assert (first.names, second.names) == ([module], [module])
    assert imported.__file__.endswith(f"{module}.py")
    importlib.reload(imported)
    assert first.names == [module]


def test_a_module_that_is_there_waits_for_nothing(module):
    importlib.import_module(module)
    called = Called()
    when_imported(module, called)
    assert called.names == [module]


def test_a_module_that_fails_is_waited_for_again(module, tmp_path):
    path, called = tmp_path / f"{module}.py", Called()
    good = path.read_text()
    path.write_text("1 / 0  # a source of another length, or Python may take what it compiled\n")
    when_imported(module, called)
    with pytest.raises(ZeroDivisionError):
        importlib.import_module(module)
    assert not called.names
    path.write_text(good)
    importlib.invalidate_caches()
    importlib.import_module(module)
    assert called.names == [module]


def test_a_module_that_nobody_has_is_missing_as_ever():
    when_imported("no_such_framework", Called())
    with pytest.raises(ModuleNotFoundError, match="no_such_framework"):
        importlib.import_module("no_such_framework")
    assert importlib.util.find_spec("no_such_framework") is None


def test_frameworks_that_are_there_are_seeded_at_once(monkeypatch):
    seen = []
    torch = SimpleNamespace(manual_seed=lambda seed: seen.append(("torch", seed)))
    tensorflow = SimpleNamespace(
        random=SimpleNamespace(set_seed=lambda seed: seen.append(("tensorflow", seed)))
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    seed_all(3)
    seed_creator(4)
    assert seen == [("torch", 3), ("torch", 4), ("tensorflow", 4)]


def test_an_empty_directory_of_a_frameworks_name_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", ModuleType("tensorflow"))
    seed_tensorflow(3)


def with_tensorflow(config):
    """A creator that imports TensorFlow where it is told so, and then changes a setting."""
    import sys

    import keras

    sys.seen_by_the_creator = None
    if config["imports"]:
        import tensorflow as tf

        sys.seen_by_the_creator = (drawn(), tf.config.functions_run_eagerly())
        tf.config.run_functions_eagerly(True)
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(1)(x))


def drawn(seed=None):
    """TensorFlow's next random number."""
    import tensorflow as tf

    if seed is not None:
        tf.random.set_seed(seed)
    return float(tf.random.uniform(()))


def is_imported():
    return "tensorflow" in sys.modules


@pytest.mark.timeout(120)
def test_a_job_on_jax_imports_tensorflow_only_for_its_creator_and_seeded():
    data = Data.of(columns(), (100,), features=("x",), labels=())
    without, *others = [
        job_of(
            BuildJob,
            with_tensorflow,
            data.spec,
            config={"imports": imports},
            framework="keras",
        )
        for imports in (False, True, True)
    ]
    sample = {"x": data.shards[0]["x"][:2]}
    ranks = Ranks({"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"})
    try:
        assert ranks.alone(warm.built, [without], sample) == [None]
        assert not ranks.alone(is_imported)
        cold, later = ranks.alone(warm.built, others, sample)
        assert cold == later == (ranks.alone(drawn, SEED), False)
    finally:
        ranks.close()
