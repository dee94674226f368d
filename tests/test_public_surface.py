"""The names that users' programs may rely on; a change here is a change of the interface."""

import importlib

import pytest

PUBLIC = {
    "zoo.orca": ["OrcaContext", "init_orca_context", "stop_orca_context"],
    "zoo.orca.learn.keras": ["Estimator"],
    "zoo.orca.learn.metrics": [
        "AUC",
        "AUROC",
        "Accuracy",
        "BinaryAccuracy",
        "BinaryCrossEntropy",
        "CategoricalAccuracy",
        "CategoricalCrossEntropy",
        "F1Score",
        "KLDivergence",
        "MAE",
        "MSE",
        "Metric",
        "Poisson",
        "Precision",
        "Recall",
        "SparseCategoricalAccuracy",
        "SparseCategoricalCrossEntropy",
        "Top5Accuracy",
    ],
    "zoo.orca.learn.pytorch": ["Estimator", "TrainingOperator"],
    "zoo.orca.learn.pytorch.callbacks": [
        "Callback",
        "MainCallback",
        "MaxstepsCallback",
        "ModelCheckpoint",
        "TensorBoardCallback",
        "TqdmCallback",
    ],
    "zoo.orca.learn.tf2": ["Estimator"],
}

ERRORS = [
    "ColumnError",
    "ContextError",
    "CreatorError",
    "DataError",
    "DeviceError",
    "InvalidInputError",
    "MissingPackageError",
    "ModelError",
    "OrcaError",
    "PeerLostError",
    "SlotsError",
    "StateError",
    "UnevenRowsError",
    "WorkerDiedError",
    "WorkerError",
    "WorkerFrozenError",
    "error_class",
]


@pytest.mark.parametrize("name", PUBLIC)
def test_exported_names(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__) == PUBLIC[name]
    assert all(hasattr(module, exported) for exported in module.__all__)


def test_errors():
    module = importlib.import_module("zoo.orca.errors")
    public = [name for name in vars(module) if not name.startswith("_")]
    assert sorted(public) == ERRORS


def test_errors_are_also_the_builtin_ones_their_callers_expect():
    from zoo.orca import errors

    assert issubclass(errors.InvalidInputError, ValueError)
    assert issubclass(errors.ContextError, RuntimeError)
    assert issubclass(errors.MissingPackageError, ImportError)


def test_context_keeps_the_original_arguments_in_their_order():
    import inspect

    from zoo.orca import init_orca_context

    positional = ["cluster_mode", "cores", "memory", "num_nodes", "init_ray_on_spark"]
    assert list(inspect.signature(init_orca_context).parameters)[:5] == positional
