"""Searches whose trials are real fits, of Keras on JAX and of PyTorch."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optuna.pruners import ThresholdPruner
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from zoo.orca.automl import hp
from zoo.orca.automl.auto_estimator import AutoEstimator
from zoo.orca.errors import InvalidInputError, MissingPackageError, StateError
from zoo.orca.learn.keras import Estimator as Keras
from zoo.orca.learn.pytorch import Estimator as Torch

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """96 rows of y = 3 x."""
    x = F.rand(1).cast("float")
    frame = spark.range(96, numPartitions=2).select(x.alias("x"))
    return frame.withColumn("y", 3 * F.col("x")).cache()


def keras_model(config: dict[str, Any]) -> Any:
    import keras

    if config.get("fails"):
        raise OSError("no such table")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(config["lr"]), "mse", metrics=["mae"])
    return model


def torch_module(config: dict[str, Any]) -> Any:
    import torch

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(1, config["outputs"])
            torch.nn.init.zeros_(self.line.weight)  # a mean squared error of 3
            torch.nn.init.zeros_(self.line.bias)

        def forward(self, x: Any) -> Any:
            return self.line(x.reshape(-1, 1)).reshape(-1)

    return Line()


COLUMNS = {"feature_cols": ["x"], "label_cols": ["y"], "verbose": 0}


def test_a_search_over_keras_finds_and_keeps_the_best(
    rows: DataFrame, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"

    def search() -> AutoEstimator:
        return AutoEstimator.from_keras(
            model_creator=keras_model,
            estimator=Keras,
            keras_backend="jax",
            name="lines",
            logs_dir=str(tmp_path / "logs"),
        )

    space = {
        "lr": hp.grid_search([1e-4, 0.2, 0.01]),
        "fails": hp.sample_from(lambda spec: spec.config.lr == 0.01),
        "batch_size": 16,
    }
    auto = search()
    fields = {**COLUMNS, "verbose": 1, "storage": storage, "parallelism": 1}
    auto.fit(rows, epochs=2, validation_data=rows, search_space=space, metric="mae", **fields)
    assert auto.get_best_config() == {"lr": 0.2, "fails": False, "batch_size": 16}
    trials = auto.study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert "no such table" in trials[2].user_attrs["error"]
    shown = capsys.readouterr().out
    assert "trial 1 has ended after 2 epochs, mae " in shown

    alone = Keras.from_keras(
        model_creator=keras_model, config={"lr": 0.2}, num_workers=1, keras_backend="jax"
    )
    stats = alone.fit(rows, epochs=2, validation_data=rows, batch_size=16, **COLUMNS)
    assert trials[1].value == stats.history["val_mae"][-1]
    assert list(trials[1].intermediate_values.values()) == stats.history["val_mae"]
    wanted = alone.get_model().get_weights()
    for found in (auto.get_best_model(), auto.get_best_estimator().get_model()):
        np.testing.assert_array_equal(found.get_weights()[0], wanted[0])

    later = search()  # another program, which has nothing more to try
    later.fit(rows, epochs=2, validation_data=rows, search_space=space, metric="mae", **fields)
    assert len(later.study.trials) == 3
    assert later.get_best_config() == auto.get_best_config()
    np.testing.assert_array_equal(later.get_best_model().get_weights()[0], wanted[0])
    with pytest.raises(InvalidInputError, match="has been fitted.*\nMake another one"):
        later.fit(rows)


def test_a_search_over_torch_prunes_beside_each_other(rows: DataFrame) -> None:
    auto = AutoEstimator.from_torch(model_creator=torch_module, optimizer="SGD", loss="MSELoss")
    space = {"lr": hp.grid_search([0.3, 0.2, 1e-6, 1e-7]), "outputs": 1}
    auto.fit(
        rows,
        epochs=4,
        validation_data=rows,
        metric="mse",
        search_space=space,
        scheduler=ThresholdPruner(upper=2.0, n_warmup_steps=2),
        parallelism=2,
        **COLUMNS,
    )
    trials = auto.study.trials
    assert [trial.state.name for trial in trials[:2]] == ["COMPLETE", "COMPLETE"]
    assert [len(trial.intermediate_values) for trial in trials[:2]] == [4, 4]
    assert {trial.state.name for trial in trials[2:]} == {"PRUNED"}
    assert {len(trial.intermediate_values) for trial in trials[2:]} == {2}
    best = min(trials[:2], key=lambda trial: trial.value)
    alone = Torch.from_torch(
        model=torch_module,
        optimizer=lambda model, config: __import__("torch").optim.SGD(
            model.parameters(), config["lr"]
        ),
        loss=__import__("torch").nn.MSELoss(),
        config=auto.get_best_config(),
    )
    stats = alone.fit(rows, epochs=4, validation_data=rows, **COLUMNS)
    assert auto.get_best_config()["lr"] == best.params["lr"]
    assert best.value == pytest.approx(stats.history["val_loss"][-1], rel=1e-6)
    ours, wanted = (one.state_dict() for one in (auto.get_best_model(), alone.get_model()))
    for name, value in wanted.items():
        np.testing.assert_array_equal(ours[name].numpy(), value.numpy())


def keras() -> AutoEstimator:
    return AutoEstimator.from_keras(model_creator=keras_model, estimator=Keras, keras_backend="jax")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: keras().fit(None, n_sampling=0), "n_sampling must be a whole number from 1"),
        (lambda: keras().fit(None, n_sampling=-1), "tries without end\nGive timeout="),
        (lambda: keras().fit(None, stop=len), "stop is not for AutoEstimator.fit"),
        (lambda: keras().fit(None, step=3), "AutoEstimator.fit has 'step', which neither it nor"),
        (lambda: keras().fit(None, search_alg="zoopt"), "search_alg='zoopt' is none of"),
        (lambda: keras().fit(None, scheduler="pbt"), "scheduler='pbt' is none of"),
        (
            lambda: keras().fit(None, scheduler="asha", scheduler_params={"rate": 3}),
            "scheduler_params does not suit Optuna's SuccessiveHalvingPruner",
        ),
        (lambda: keras().get_best_config(), "no trial has ended well yet\nCall fit first"),
        (
            lambda: AutoEstimator.from_keras(model_creator=keras_model, config={"lr": 1}),
            "takes no config from a search\nPut constants into search_space",
        ),
        (
            lambda: AutoEstimator.from_keras(
                model_creator=keras_model, resources_per_trial={"memory": 2}
            ),
            r"resources_per_trial has \['memory'\]",
        ),
    ],
)
def test_arguments_that_cannot_be_used(
    spark: SparkSession, call: Callable[[], Any], words: str
) -> None:
    with pytest.raises((InvalidInputError, StateError), match=words):
        call()


def test_names_of_ray_mean_what_optuna_has() -> None:
    from zoo.orca.automl.study import pruner_of, sampler_of

    halving = pruner_of("async_hyperband", {"max_t": 9, "grace_period": 2, "reduction_factor": 3})
    assert (halving._min_resource, halving._reduction_factor) == (2, 3)
    assert type(pruner_of(None, None)).__name__ == "NopPruner"
    assert type(sampler_of(None, None, 0)).__name__ == "TPESampler"
    assert type(sampler_of("variant_generator", None, 0)).__name__ == "RandomSampler"
    own = sampler_of("tpe", {"n_startup_trials": 3}, 0)
    assert sampler_of(own, None, 1) is None


def test_a_program_without_optuna_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    study = importlib.import_module("zoo.orca.automl.study")
    with pytest.raises(MissingPackageError, match=r"pip install 'zoo-orca\[automl\]'"):
        study.pruner_of(None, None)
