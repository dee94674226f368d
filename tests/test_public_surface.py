"""The names that users' programs may rely on; a change here is a change of the interface."""

import importlib

import pytest

PUBLIC = {
    "zoo.common.nncontext": ["init_nncontext"],
    "zoo.orca": ["OrcaContext", "init_orca_context", "stop_orca_context"],
    "zoo.orca.automl": ["AutoEstimator"],
    "zoo.orca.automl.auto_estimator": ["AutoEstimator"],
    "zoo.orca.automl.hp": [
        "choice",
        "choice_n",
        "grid_search",
        "lograndint",
        "loguniform",
        "qlograndint",
        "qloguniform",
        "qrandint",
        "qrandn",
        "quniform",
        "randint",
        "randn",
        "sample_from",
        "uniform",
    ],
    "zoo.orca.learn": ["Distributor"],
    "zoo.orca.data": ["SharedValue", "XShards", "column"],
    "zoo.orca.data.image": [
        "DType",
        "FeatureType",
        "ParquetDataset",
        "SchemaField",
        "read_coco",
        "read_images",
        "read_parquet",
        "read_tfrecord",
        "read_voc",
        "write_from_directory",
        "write_imagenet",
        "write_mnist",
        "write_parquet",
        "write_tfrecord",
        "write_voc",
    ],
    "zoo.orca.data.pandas": ["read_csv", "read_json", "read_parquet"],
    "zoo.orca.data.shard": ["SharedValue", "SparkXShards", "XShards"],
    "zoo.orca.learn.keras": ["Estimator"],
    "zoo.orca.learn.metrics": [
        "AUC",
        "AUROC",
        "Accuracy",
        "BinaryAccuracy",
        "BinaryCrossEntropy",
        "CategoricalAccuracy",
        "CategoricalCrossEntropy",
        "CustomizedMetric",
        "F1Score",
        "KLDivergence",
        "MAE",
        "MSE",
        "Metric",
        "Poisson",
        "Precision",
        "PrecisionRecallCurve",
        "ROC",
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
    "zoo.orca.learn.pytorch.callbacks.base": ["Callback", "MainCallback"],
    "zoo.orca.learn.pytorch.callbacks.maxsteps": ["MaxstepsCallback"],
    "zoo.orca.learn.pytorch.callbacks.model_checkpoint": ["ModelCheckpoint"],
    "zoo.orca.learn.pytorch.callbacks.tensorboard": ["TensorBoardCallback"],
    "zoo.orca.learn.pytorch.callbacks.tqdm": ["TqdmCallback"],
    "zoo.orca.learn.pytorch.pytorch_metrics": [
        "AUC",
        "AUROC",
        "Accuracy",
        "BinaryAccuracy",
        "BinaryCrossEntropy",
        "CategoricalAccuracy",
        "CategoricalCrossEntropy",
        "CustomizedMetric",
        "F1Score",
        "KLDivergence",
        "MAE",
        "MSE",
        "Poisson",
        "Precision",
        "PrecisionRecallCurve",
        "PytorchMetric",
        "ROC",
        "Recall",
        "SparseCategoricalAccuracy",
        "SparseCategoricalCrossEntropy",
        "Top5Accuracy",
    ],
    "zoo.orca.learn.tf2": ["Estimator"],
    "zoo.orca.mlflow": [
        "FLAVOR_NAME",
        "autolog",
        "get_default_conda_env",
        "get_default_pip_requirements",
        "load_model",
        "log_model",
        "save_model",
    ],
    "zoo.orca.learn.trigger": ["EveryEpoch", "SeveralIteration"],
    "zoo.orca.ml": [
        "KerasClassifier",
        "KerasClassifierModel",
        "KerasRegressor",
        "KerasRegressorModel",
        "TorchClassifier",
        "TorchClassifierModel",
        "TorchRegressor",
        "TorchRegressorModel",
    ],
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
    "RowsNeededError",
    "ShardError",
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


CALLS = [
    (module, name)
    for module in ("tf2", "keras", "pytorch")
    for name in (
        "from_torch" if module == "pytorch" else "from_keras",
        "fit",
        "evaluate",
        "predict",
        "plan",
        "verify",
    )
]


@pytest.mark.parametrize(("module", "name"), CALLS)
def test_help_describes_every_argument_in_order(module, name):
    import inspect
    import re

    estimator = importlib.import_module(f"zoo.orca.learn.{module}").Estimator
    method = getattr(estimator, name)
    text = inspect.getdoc(method).partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    lines = re.findall(r"^(\S.*?)(?: :|$)", text, re.M)
    described = [one for line in lines for one in line.split(", ")]
    taken = [one for one in inspect.signature(method).parameters if one != "self"]
    assert described == taken


def test_from_keras_takes_the_same_for_every_keras():
    import inspect

    from zoo.orca.learn import keras, tf2

    old = dict(inspect.signature(tf2.Estimator.from_keras).parameters)
    new = dict(inspect.signature(keras.Estimator.from_keras).parameters)
    assert new.pop("keras_backend").default is None
    assert list(old) == list(new)
    assert [name for name in old if old[name] != new[name]] == ["cpu_binding"]
    assert old["cpu_binding"].default is False and new["cpu_binding"].default is None
    text = inspect.getdoc(keras.Estimator.from_keras)
    for said in ("By default on JAX alone", "KERAS_BACKEND", "Raises\n------\nCreatorError"):
        assert said in text
