"""Parameters of stages, without Spark's JVM."""

import pytest
from pyspark.ml.param import Param
from pyspark.ml.tuning import ParamGridBuilder

from tests.ml.models import classifier, regressor
from zoo.orca import ml
from zoo.orca.errors import InvalidInputError
from zoo.orca.ml import KerasClassifier, TorchRegressor

STAGES = [ml.KerasClassifier, ml.KerasRegressor, ml.TorchClassifier, ml.TorchRegressor]


def creator(config):
    """What no test calls."""


@pytest.mark.parametrize("kind", STAGES)
def test_every_parameter_has_a_getter_and_a_setter(kind):
    stage = kind()
    for param in stage.params:
        name = param.name[0].upper() + param.name[1:]
        value = {
            "epochs": 3,
            "batchSize": 7,
            "numWorkers": 2,
            "seed": 5,
            "outputScale": "logits",
            "config": {"a": 1},
            "fitParams": {"b": 2},
            "estimatorParams": {"c": 3},
            "backend": "torch",
        }.get(param.name, "x")
        assert getattr(stage, f"set{name}")(value) is stage
        assert getattr(stage, f"get{name}")() == value
        assert stage.isSet(param) and param.doc


@pytest.mark.parametrize("kind", STAGES)
def test_the_constructor_takes_every_parameter_and_says_its_default(kind):
    import inspect

    taken = inspect.signature(kind.__init__).parameters
    stage = kind()
    assert {param.name for param in stage.params} == set(taken) - {"self"}
    for param in stage.params:
        default = taken[param.name].default
        if stage.hasDefault(param):
            assert stage.getOrDefault(param) in (default, {} if default is None else default)
        else:
            assert default is None


def test_the_constructor_sets_what_it_gets_and_nothing_else():
    stage = KerasClassifier(modelCreator=creator, labelCol="y", epochs=4)
    assert {param.name for param in stage._paramMap} == {"modelCreator", "labelCol", "epochs"}
    assert stage.getEpochs() == 4 and stage.getBatchSize() == 32 and stage.getNumWorkers() is None
    assert stage.setParams(epochs=5, weightCol=None) is stage and stage.getEpochs() == 5
    assert not stage.isDefined(stage.weightCol)
    with pytest.raises(InvalidInputError, match="no parameter 'epoch'\n"):
        stage.setParams(epoch=5)


def test_features_are_a_column_columns_or_a_dict():
    stage = TorchRegressor()
    for given in ("a", ["a", "b"], [["a", "b"], "c"], {"in": "a"}):
        assert stage.setFeaturesCol(given).getFeaturesCol() == given


@pytest.mark.parametrize(
    ("name", "value"),
    [("outputScale", "odds"), ("backend", "mxnet"), ("config", 3), ("epochs", "many")],
)
def test_values_of_the_wrong_kind_are_refused(name, value):
    with pytest.raises(TypeError, match=f'"{name}"'):
        KerasClassifier(**{name: value})


def test_seeds_are_the_same_in_every_process():
    assert [kind().getSeed() for kind in STAGES] == [0] * 4


def test_keys_of_config_are_parameters():
    stage = KerasClassifier(config={"lr": 0.1, "units": 8})
    rate = stage.configParam("lr")
    assert isinstance(rate, Param) and rate is stage.configParam("lr")
    grid = ParamGridBuilder().addGrid(rate, [0.5, 0.25]).addGrid(stage.epochs, [1, 2]).build()
    found = [stage.copy(one) for one in grid]
    assert [one.getConfig() for one in found] == [
        {"lr": rate, "units": 8} for rate in (0.5, 0.5, 0.25, 0.25)
    ]
    assert [one.getEpochs() for one in found] == [1, 2, 1, 2]
    assert stage.getConfig() == {"lr": 0.1, "units": 8}
    assert {one.uid for one in found} == {stage.uid}


def test_a_key_that_another_copy_made_is_not_lost():
    stage = KerasClassifier(config={"lr": 0.1})
    other = stage.copy()
    assert other.copy({stage.configParam("lr"): 0.5}).getConfig() == {"lr": 0.5}


def test_the_key_of_another_stage_is_not_taken():
    stage, other = KerasClassifier(), KerasClassifier()
    assert stage.copy({other.configParam("lr"): 0.5}).getConfig() == {}


def test_a_keys_name_finds_it_again():
    """So Spark reads grids from files."""
    stage = KerasClassifier()
    assert getattr(stage, "config.lr") == stage.configParam("lr")
    assert stage.hasParam("config.lr") and not stage.hasParam("config.")
    with pytest.raises(AttributeError, match="'KerasClassifier' object has no attribute 'other'"):
        _ = stage.other
    stage._resetUid("another")
    assert stage.configParam("lr").parent == "another"


def test_whole_dicts_are_values_of_a_grid():
    stage = KerasClassifier(config={"lr": 0.1})
    grid = ParamGridBuilder().addGrid(stage.config, [{"lr": 1.0}, {"lr": 2.0}]).build()
    assert [stage.copy(one).getConfig() for one in grid] == [{"lr": 1.0}, {"lr": 2.0}]


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_arguments_that_are_parameters_or_are_none_are_refused(framework):
    stage = classifier(framework, fitParams={"epochs": 3})
    with pytest.raises(InvalidInputError, match="fitParams has 'epochs'.*\n.*epochs"):
        stage.fit(None)
    stage = regressor(framework, fitParams={"patience": 3})
    with pytest.raises(InvalidInputError, match="fitParams has 'patience', which fit does not"):
        stage.fit(None)
    stage = regressor(framework, estimatorParams={"seed": 3})
    with pytest.raises(InvalidInputError, match="estimatorParams has 'seed'"):
        stage.fit(None)


def test_a_stage_without_a_creator_says_so():
    with pytest.raises(InvalidInputError, match="KerasClassifier has no modelCreator\n"):
        KerasClassifier().fit(None)


def test_a_module_with_weights_is_no_creator():
    from torch import nn

    stage = ml.TorchClassifier(modelCreator=nn.Linear(2, 2), loss=nn.CrossEntropyLoss())
    with pytest.raises(InvalidInputError, match="modelCreator is a Linear with its weights"):
        stage.fit(None)


def test_a_model_that_is_not_trained_says_so():
    with pytest.raises(InvalidInputError, match="KerasClassifierModel is not trained\n"):
        _ = ml.KerasClassifierModel().estimator
