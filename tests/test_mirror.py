"""Tests mirror the tree: what a module does is looked for in the test module of its name."""

from pathlib import Path
from typing import NamedTuple

from tests.source_tree import modules

TESTS = Path(__file__).parent


class Elsewhere(NamedTuple):
    """Modules of one room that have no test module of their own."""

    room: str
    names: str
    tests: str
    reason: str


#: Every module is named, so that a new one is found.
ELSEWHERE = [
    Elsewhere("automl", "recipes", "automl/test_auto_estimator.py", "what its trials are made of"),
    Elsewhere("automl", "space", "automl/test_hp.py", "spaces of several hyperparameters"),
    Elsewhere("automl", "kept study", "automl/test_search.py", "what becomes of its trials"),
    Elsewhere("learn.pytorch", "named", "automl/test_auto_estimator.py", "searches use names"),
    Elsewhere(
        "context",
        "class_archive_maker class_archive_place",
        "context/test_class_archive.py",
        "one archive: where it may lie, how it is made, who finds it",
    ),
    Elsewhere(
        "context",
        "nncontext options places request sessions spark_context",
        "context/test_context.py",
        "parts of init_orca_context and OrcaContext",
    ),
    Elsewhere("context", "ended", "learn/test_ended.py", "a program after its session's end"),
    Elsewhere("data", "columns", "wire/test_padding.py", "it checks what the call makes"),
    Elsewhere("data.image", "formats schema", "data/image/test_parquet_dataset.py", "what is read"),
    Elsewhere(
        "data.pandas", "csv paths", "data/pandas/test_preprocessing.py", "what the readers read"
    ),
    Elsewhere("data.shard", "lazy rdds splitting", "data/shard/test_xshards.py", "shards in Spark"),
    Elsewhere("data.shard", "rows", "learn/forms/test_shards.py", "rows that a model learns from"),
    Elsewhere(
        "driver",
        "output_types",
        "wire/predicting/test_column_forms.py",
        "types that are declared, beside those of the values",
    ),
    Elsewhere(
        "worker.task", "column_task", "driver/test_column_function.py", "what Spark calls, in Spark"
    ),
    Elsewhere(
        "wire.predicting", "argument_names", "worker/rows/test_arguments.py", "of these arguments"
    ),
    Elsewhere("driver.elastic", "calls", "driver/elastic/test_going_on.py", "calls that go on"),
    Elsewhere("driver", "request", "driver/test_fit.py", "a request does nothing but run"),
    Elsewhere("driver.frame", "columns", "driver/frame/test_source.py", "through a real stage"),
    Elsewhere("encryption", "tls", "encryption/test_line.py", "one handshake, between two ends"),
    Elsewhere("", "nncontext", "context/test_context.py", "another path to the same function"),
    Elsewhere("", "errors", "test_public_surface.py", "the tree of errors is public"),
    Elsewhere("driver.reports", "door", "faults/test_strangers.py", "a crowd comes to it"),
    Elsewhere("driver.session", "properties", "driver/test_stage.py", "what a stage puts back"),
    Elsewhere("", "files", "driver/test_storage.py", "paths and URLs, as states are saved"),
    Elsewhere("frameworks", "tf2", "frameworks/test_equalities.py", "of one of the families there"),
    Elsewhere("frameworks", "fake", "driver/test_fit.py", "the engine's equalities are its own"),
    Elsewhere(
        "frameworks.common", "structures", "frameworks/test_equalities.py", "a name for a type"
    ),
    Elsewhere(
        "frameworks.common",
        "process_group",
        "frameworks/own/test_process_group.py",
        "how two kinds of group meet",
    ),
    Elsewhere(
        "frameworks.own",
        "plain plugin",
        "frameworks/own/test_worker.py",
        "what a function gets, and what becomes of what it gives",
    ),
    Elsewhere(
        "frameworks.own",
        "tensorflow_dataset torch_datasets",
        "frameworks/own/test_rows.py",
        "the same rows, in other forms",
    ),
    Elsewhere("frameworks.gradients", "layout", "frameworks/gradients/test_fused_sum.py", "a sum"),
    Elsewhere(
        "frameworks.settings",
        "of_jax of_tensorflow of_torch",
        "frameworks/settings/test_fresh.py",
        "all settings are one list",
    ),
    Elsewhere(
        "frameworks.creators",
        "loader of_keras of_tensorflow of_torch seeds signature stream",
        "frameworks/creators/test_equal.py",
        "loaders of every kind, on one rank and on several",
    ),
    Elsewhere("wire.plans", "live", "frameworks/creators/test_equal.py", "steps of loaders"),
    Elsewhere(
        "frameworks.keras.loaders",
        "array_feed layout prediction",
        "frameworks/creators/test_equal.py",
        "batches of loaders, as Keras takes them",
    ),
    Elsewhere(
        "frameworks.keras.backends",
        "tensorflow_loader_feed",
        "frameworks/creators/test_equal.py",
        "batches of loaders, on TensorFlow",
    ),
    Elsewhere(
        "frameworks.keras.training",
        "sources",
        "frameworks/test_equalities.py",
        "rows of every family come from there",
    ),
    Elsewhere(
        "frameworks.torch",
        "loader_feed loader_prediction",
        "frameworks/creators/test_torch.py",
        "batches of loaders",
    ),
    Elsewhere("worker.child", "gathering", "frameworks/creators/test_predict.py", "in order"),
    Elsewhere("learn.forms", "creators", "frameworks/creators/test_calls.py", "calls with them"),
    Elsewhere(
        "frameworks.keras",
        "base_plugin plugin protocols types",
        "frameworks/test_equalities.py",
        "every family there comes through them",
    ),
    Elsewhere("learn.files", "recorded", "driver/test_runs.py", "what unfinished calls leave"),
    Elsewhere(
        "worker.child",
        "transforming",
        "frameworks/test_transforms.py",
        "ranks agree on what comes out",
    ),
    Elsewhere(
        "frameworks.keras",
        "configuration",
        "frameworks/settings/test_fresh.py",
        "settings of Keras, as a fresh process has them",
    ),
    Elsewhere(
        "frameworks.keras",
        "prediction rows_at_once",
        "frameworks/test_predictions.py",
        "calls of every size",
    ),
    Elsewhere(
        "frameworks.keras",
        "feed",
        "frameworks/keras/backends/test_backends.py",
        "steps of JAX and torch",
    ),
    Elsewhere(
        "frameworks.keras.backends",
        "chosen jax_equations on_jax on_tensorflow on_torch",
        "frameworks/keras/backends/test_backends.py",
        "what the backends answer to the same questions",
    ),
    Elsewhere(
        "frameworks.keras.backends",
        "tensorflow_clock",
        "frameworks/keras/training/test_clock.py",
        "one clock of several",
    ),
    Elsewhere(
        "frameworks.keras.saving",
        "archives files",
        "frameworks/keras/saving/test_state.py",
        "Keras's own files, with the state that they keep",
    ),
    Elsewhere(
        "frameworks.keras.training",
        "position progress",
        "frameworks/keras/training/test_loop.py",
        "where the loop stands, and what it has come to",
    ),
    Elsewhere(
        "frameworks.keras.training",
        "remote",
        "learn/test_keras_saving.py",
        "where a checkpoint ends",
    ),
    Elsewhere(
        "frameworks.keras.training",
        "within",
        "frameworks/test_checkpoints.py",
        "of all frameworks alike",
    ),
    Elsewhere(
        "frameworks.keras.training",
        "quiet",
        "frameworks/keras/training/test_callbacks.py",
        "which callbacks have a hook",
    ),
    Elsewhere(
        "frameworks.keras.training",
        "randomness",
        "frameworks/keras/saving/test_state.py",
        "a fit's random numbers, and how the next one goes on",
    ),
    Elsewhere(
        "frameworks.keras.versions",
        "keras2 keras3",
        "frameworks/test_equalities.py",
        "what the versions answer to the same questions",
    ),
    Elsewhere(
        "frameworks.torch",
        "dense exchange feed models plugin statistics",
        "frameworks/torch/test_equal.py",
        "parts of a fit that equals a plain loop",
    ),
    Elsewhere(
        "frameworks.torch.training",
        "callbacks hook_steps",
        "frameworks/torch/training/test_operator.py",
        "steps of the user's hooks",
    ),
    Elsewhere(
        "frameworks.torch.training",
        "session steps totals",
        "frameworks/torch/test_equal.py",
        "parts of a fit that equals a plain loop",
    ),
    Elsewhere(
        "learn",
        "estimator options requests results keras_creation keras_estimator keras_files",
        "learn/test_tf2.py",
        "a user's day",
    ),
    Elsewhere("learn.files", "made", "learn/test_keras_saving.py", "saved before a fit"),
    Elsewhere("learn.forms", "form", "learn/forms/test_entry.py", "a protocol, used there"),
    Elsewhere(
        "frameworks.torch.saving", "whole", "learn/test_pytorch.py", "a file without its model"
    ),
    Elsewhere("ml", "config_keys", "ml/test_params.py", "parameters, too"),
    Elsewhere(
        "ml",
        "keras_params stages summary torch_params",
        "ml/test_classification.py",
        "what all stages share, by those of each framework",
    ),
    Elsewhere(
        "learn.tracking",
        "packaged tracked",
        "mlflow/test_autologging.py",
        "of estimators that have trained",
    ),
    Elsewhere(
        "mlflow",
        "artifact beside",
        "mlflow/test_saving.py",
        "what is in a model, and who loads it",
    ),
    Elsewhere("learn", "docstrings", "test_public_surface.py", "what help() shows"),
    Elsewhere("learn", "metrics", "frameworks/torch/metrics/test_orca_metrics.py", "by hand"),
    Elsewhere("learn.keras", "backend estimator", "learn/test_keras.py", "a user's day"),
    Elsewhere("learn.tf2", "estimator", "learn/test_tf2.py", "a user's day"),
    Elsewhere(
        "learn.pytorch",
        "creation estimator files options pytorch_metrics recipe saving stats",
        "learn/test_pytorch.py",
        "a user's day",
    ),
    Elsewhere(
        "learn.pytorch.callbacks",
        "base maxsteps model_checkpoint tensorboard tqdm",
        "test_public_surface.py",
        "import paths",
    ),
    Elsewhere("wire", "processors", "worker/child/test_processors.py", "where threads run"),
    Elsewhere("wire", "report", "driver/reports/test_listener.py", "an address, used there"),
    Elsewhere("wire", "torch_options", "frameworks/torch/test_equal.py", "fields, used there"),
    Elsewhere(
        "wire.messages",
        "codec line neighbours pipe progress results rows",
        "wire/test_messages.py",
        "one sweep over all messages",
    ),
    Elsewhere("wire.plans", "plan", "wire/plans/test_placed.py", "a protocol of two plans"),
    Elsewhere("worker", "pipes", "worker/child/test_runner.py", "between two real processes"),
    Elsewhere("worker", "plain_words", "worker/test_describing.py", "an error, told"),
    Elsewhere("worker", "plugin", "frameworks/test_equalities.py", "a protocol, used there"),
    Elsewhere(
        "worker.child",
        "checkpoint",
        "cluster/test_lost_executor.py",
        "a fit that is begun again",
    ),
    Elsewhere("worker.child", "jobs", "worker/child/test_runner.py", "part of a job"),
    Elsewhere("worker.child", "loops", "learn/test_distributor.py", "a user's day"),
    Elsewhere(
        "worker.collective",
        "arithmetic headers protocol segment sockets streams transfers transport",
        "worker/collective/test_ring.py",
        "each way of the bytes, by the same sweeps",
    ),
    Elsewhere(
        "worker.collective.groups",
        "nested",
        "worker/collective/groups/test_hosts.py",
        "what hosts and rows share",
    ),
    Elsewhere(
        "worker.child",
        "transform_process",
        "worker/child/test_transform_processes.py",
        "the other end of its sockets",
    ),
    Elsewhere("worker.rows", "sequence", "worker/rows/test_levelling.py", "a part, then levelled"),
    Elsewhere("worker.rows", "column_files", "worker/rows/test_spool.py", "what is spooled"),
    Elsewhere("worker.rows", "arrays columns", "worker/rows/test_dataset.py", "Arrow to arrays"),
    Elsewhere(
        "worker.task",
        "child_process starting",
        "worker/child/test_runner.py",
        "a task and its child",
    ),
    Elsewhere(
        "worker.task", "handing", "worker/task/test_neighbours.py", "what passes between two tasks"
    ),
    Elsewhere(
        "worker.task",
        "rendezvous",
        "driver/reports/test_rendezvous.py",
        "both sides of one rendezvous",
    ),
    Elsewhere(
        "worker.shards", "reading steps tasks", "data/shard/test_xshards.py", "tasks of Spark"
    ),
    Elsewhere("worker.shards", "pictures", "data/image/test_preprocessing.py", "files of pictures"),
    Elsewhere("worker.shards", "records", "data/image/test_tfrecord_dataset.py", "what is written"),
    Elsewhere("worker.shards", "elements", "data/tf/test_data.py", "tasks of Spark"),
    Elsewhere("worker.shards", "scaling", "data/test_transformer.py", "tasks of Spark"),
    Elsewhere("worker.shards", "files", "data/pandas/test_preprocessing.py", "tasks of Spark"),
    Elsewhere(
        "worker.task", "reporting", "driver/reports/test_listener.py", "both ends of one line"
    ),
]


def listed() -> dict[str, str]:
    """The test module of each module that is tested elsewhere."""
    return {
        f"{one.room}.{name}".lstrip("."): one.tests
        for one in ELSEWHERE
        for name in one.names.split()
    }


def without_own_tests() -> set[str]:
    """Every module that has no test module of its name, by its name inside of the package."""
    found = set()
    for module in modules():
        name = ".".join(module.name.split(".")[2:])
        if not name or module.path.stem in ("__init__", "__main__"):
            continue
        *folders, last = name.split(".")
        if not TESTS.joinpath(*folders, f"test_{last}.py").exists():
            found.add(name)
    return found


def test_every_module_is_tested_where_one_looks_for_it():
    lost = without_own_tests() - listed().keys()
    assert not lost, "give them a test module, or name the one that tests them in ELSEWHERE"


def test_what_is_listed_is_there_and_needed():
    assert listed().keys() <= without_own_tests()
    assert not [path for path in listed().values() if not (TESTS / path).exists()]
