"""Columns are given to the inputs and outputs that they are named after, or by position."""

import ast

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.bench import SGD, close, columns
from tests.frameworks.ranks import Data, Failed, evaluate, plugin_of, predict_job
from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.input_shapes import Input
from zoo.orca.frameworks.keras.columns.inputs import InputLayout
from zoo.orca.frameworks.keras.columns.names import Names
from zoo.orca.wire.features import ColumnSpec, FeatureSpec

pytestmark = pytest.mark.timeout(300)

IDS = {"user": np.float32([1, 2, 3]), "item": np.float32([2, 5, 7])}


def ids(*names, renamed=""):
    rows = {f"{name}{renamed}": values for name, values in IDS.items()}
    return Data.of({**rows, "y": IDS["user"]}, (3,), features=names)


def scored(keras_bench, inputs, data):
    if inputs == "nested" and keras_bench.family.config["keras"] == 2:
        pytest.skip("plain Keras 2 cannot call such a model")
    spec = FeatureSpec(features=data.spec.features, feature_keys=data.spec.feature_keys)
    config = keras_bench.config(inputs=inputs)
    framework = keras_bench.family.framework
    job = predict_job(models.named, spec, config=config, framework=framework)
    return keras_bench.ranks.alone(predicted, job, data.shards[0])


def predicted(job, rows):
    predictor = plugin_of(job).predictor(job)
    predictor.begin(rows)
    return predictor(rows)[0]


@pytest.mark.parametrize("inputs", ["dict", "ordered", "list", "nested"])
@pytest.mark.parametrize("names", [("user", "item"), ("item", "user")])
def test_columns_that_are_named_as_the_inputs(keras_bench, inputs, names):
    found = scored(keras_bench, inputs, ids(*names))
    np.testing.assert_array_equal(found, [[21], [52], [73]])
    state = {"config": keras_bench.config(inputs=inputs), "framework": keras_bench.family.framework}
    losses = evaluate(keras_bench.ranks, models.named, ids(*names), **state)
    assert losses[0]["loss"] == pytest.approx(((20**2) + 50**2 + 70**2) / 3)


def test_other_names_go_to_a_list_of_inputs_by_position(keras_bench):
    found = scored(keras_bench, "list", ids("item_id", "user_id", renamed="_id"))
    np.testing.assert_array_equal(found, [[21], [52], [73]])


@pytest.mark.parametrize("inputs", ["dict", "nested"])
def test_other_names_for_a_dict_of_inputs_are_refused_with_the_dict_to_write(keras_bench, inputs):
    with pytest.raises(Failed) as caught:
        scored(keras_bench, inputs, ids("user_id", "item_id", renamed="_id"))
    assert caught.value.kind is ModelError
    way_out = written(caught.value.message, "feature_cols")
    assert way_out == {"item": "item_id", "user": "user_id"}
    rows = ids("user_id", renamed="_id").shards[0]
    data = Data.of(rows, (3,), features=way_out)
    np.testing.assert_array_equal(scored(keras_bench, inputs, data), [[21], [52], [73]])


def written(message, argument):
    """The dict that a message says to write."""
    after = message.split(f"{argument}={{")[1]
    return ast.literal_eval("{" + after[: after.index("}") + 1])


@pytest.mark.parametrize("outputs", ["dict", "ordered", "shared", "list"])
def test_labels_that_are_named_as_the_outputs(keras_bench, outputs):
    rows = {**columns(), "rating": columns()["y"], "click": columns()["w"]}
    config = keras_bench.config(SGD, outputs=outputs)
    by_name = {"rating": "rating", "click": "click"}
    found = [
        keras_bench.train(
            models.rated, Data.of(rows, (100,), features=("x",), labels=labels), config=config
        )[0]
        for labels in (by_name, ("rating", "click"), ("click", "rating"))
    ]
    for other in found[1:]:
        assert other.trained.history == found[0].trained.history
        close(other.weights(), found[0].weights())


def test_an_ordered_dict_of_outputs_is_as_a_plain_one(keras_bench):
    weights = {"rating": "w", "click": "flag"}
    labels = {"click": "w", "rating": "y"}
    data = Data.of(columns(), (47, 53), features=("x",), labels=labels, weight=weights)
    plain, ordered = (
        keras_bench.train(models.rated, data, config=keras_bench.config(SGD, outputs=outputs))[0]
        for outputs in ("dict", "ordered")
    )
    assert ordered.trained.history == plain.trained.history
    # The layers of an OrderedDict are in its order.
    values = {name.partition(":")[2]: value for name, value in ordered.weights().items()}
    for name, value in plain.weights().items():
        np.testing.assert_allclose(values[name.partition(":")[2]], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("outputs", ["dict", "ordered", "shared"])
def test_outputs_are_named_by_the_keys_of_their_dict(keras_bench, outputs):
    features = Data.of(columns(), (100,), features=("x",)).spec.features
    job = predict_job(
        models.rated,
        FeatureSpec(features=features),
        config=keras_bench.config(outputs=outputs),
        framework=keras_bench.family.framework,
    )
    ours, plain = keras_bench.ranks.alone(answered, job, columns()["x"])
    assert sorted(ours) == sorted(plain) == ["click", "rating"]
    for name, values in plain.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-6)


def answered(job, x):
    """The outputs by name, as Orca has them and as the model itself has them."""
    from tests.frameworks.ranks import predicted
    from zoo.orca.frameworks.keras.models import KerasModel

    found, outputs = predicted(job, {"x": x})
    plain = KerasModel(job).model.predict(x, verbose=0)
    return {one.name: value for one, value in zip(outputs, found, strict=True)}, plain


def test_other_names_of_labels_for_a_dict_of_outputs_are_refused(keras_bench):
    config = keras_bench.config(SGD, outputs="dict")
    data = Data.of(columns(), (100,), features=("x",), labels=("flag", "y"))
    with pytest.raises(Failed) as caught:
        keras_bench.train(models.rated, data, config=config)
    assert caught.value.kind is ModelError
    way_out = written(caught.value.message, "label_cols")
    assert sorted(way_out) == ["click", "rating"]
    assert sorted(way_out.values()) == ["flag", "y"]
    data = Data.of(columns(), (100,), features=("x",), labels=way_out)
    assert keras_bench.train(models.rated, data, config=config)


def test_labels_of_outputs_that_are_not_there_are_refused(keras_bench):
    config = keras_bench.config(SGD, outputs="list")
    labels = {"rating": "y", "clicks": "w"}
    data = Data.of(columns(), (100,), features=("x",), labels=labels)
    with pytest.raises(Failed, match=r"'clicks'.*'rating', 'click'"):
        keras_bench.train(models.rated, data, config=config)


def layout(columns, names, *, keyed):
    specs = tuple(ColumnSpec(name=name, dtype="float32") for name in columns)
    inputs = [Input(name=name, shape=(None, 1), dtype="float32") for name in names]
    return InputLayout(FeatureSpec(features=specs), inputs, list(names) if keyed else None)


def order(made):
    return [part.column for part in made._features]


def test_a_column_that_comes_twice_has_no_name_to_go_by():
    assert order(layout(["a", "a"], ["b", "a"], keyed=False)) == ["a", "a"]


def test_one_column_is_for_the_one_input_whatever_the_names():
    assert order(layout(["id"], ["user"], keyed=True)) == ["id"]


def test_pairs_of_an_example_are_those_with_similar_names():
    with pytest.raises(ModelError) as caught:
        layout(["MOVIE", "uid", "rated_at"], ["at", "movie", "user"], keyed=True)
    assert written(str(caught.value), "feature_cols") == {
        "at": "rated_at",
        "movie": "MOVIE",
        "user": "uid",
    }


def test_labels_of_a_model_whose_outputs_are_not_known_stay_as_they_are():
    spec = FeatureSpec(
        features=(), labels=tuple(ColumnSpec(name=name, dtype="float32") for name in ("b", "a"))
    )
    made = InputLayout(spec, None, None)
    assert [part.column for part in made._labels] == ["b", "a"]
    made = InputLayout(spec, None, None, Names(names=("a", "b"), keyed=False))
    assert [part.column for part in made._labels] == ["a", "b"]
