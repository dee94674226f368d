"""What losses and weights of classes ask of labels is looked at before the first step."""

import ast

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.bench import BATCH, SGD, close, columns
from tests.frameworks.ranks import Data, Failed
from zoo.orca.errors import DataError, InvalidInputError, ModelError
from zoo.orca.learn.arguments import class_weights

pytestmark = pytest.mark.timeout(300)

COUNTS = (47, 53)


def labelled(labels, counts=COUNTS):
    rows = {**columns(sum(counts)), "label": np.asarray(labels)}
    return Data.of(rows, counts, features=("x",), labels=("label",))


def seven_classes():
    """60 of 100 rows have a class from 3 to 6; the last is on one rank alone."""
    return np.r_[np.tile(np.arange(3), 14)[:40], np.tile(np.arange(3, 6), 20)[:59], 6].astype("i4")


def sparse(config):
    """Three classes, by the loss that `config["loss"]` names and in the kind of model it names."""
    from tests.frameworks.models import keras_of, optimizer_of

    keras = keras_of(config)
    losses = keras.losses
    loss = {
        "name": "sparse_categorical_crossentropy",
        "function": losses.sparse_categorical_crossentropy,
        "object": losses.SparseCategoricalCrossentropy(),
        "ignoring": losses.SparseCategoricalCrossentropy(ignore_class=-1),
        "dict": {"out": "sparse_categorical_crossentropy"},
        "one-hot": "categorical_crossentropy",
        "own": lambda y, p: losses.mean_squared_error(y, p[:, :1]),
    }[config["loss"]]
    out = keras.layers.Dense(3, activation="softmax", name="out")
    if config.get("deferred"):
        model = keras.Sequential([out])
    else:
        x = keras.Input((4,))
        model = keras.Model(x, out(x))
    model.compile(optimizer_of(config), loss)
    return model


def refusals(keras_bench, data, **config):
    """What all ranks say, which is the same."""
    with pytest.raises(Failed) as caught:
        keras_bench.train(sparse, data, config=keras_bench.config(**{"loss": "name", **config}))
    assert caught.value.kind is DataError, caught.value
    return caught.value.message


@pytest.mark.parametrize("loss", ["name", "function", "object", "ignoring", "dict"])
def test_classes_that_do_not_exist(keras_bench, loss):
    message = refusals(keras_bench, labelled(seven_classes()), loss=loss)
    assert "column 'label': label 3 is outside 0…2: 60 of 100 rows, for example 3, 4, 5" in message


def test_ranks_agree_on_what_one_of_them_has_found(keras_bench):
    labels = np.r_[np.zeros(47, "i4"), np.full(53, 9, "i4")]
    data, config = labelled(labels), keras_bench.config(loss="name")
    first, second = evaluated(keras_bench, data, config)
    assert first.kind is second.kind is DataError
    assert first.message == second.message
    assert first.message.startswith("column 'label': label 9 is outside 0…2: 53 of 100 rows")


def evaluated(keras_bench, data, config):
    from tests.frameworks.ranks import _evaluate, job_of
    from zoo.orca.wire.job import EvaluateJob

    job = job_of(
        EvaluateJob,
        sparse,
        data.spec,
        batch_size=BATCH,
        config=config,
        framework=keras_bench.family.framework,
    )
    rows = [data.rows(rank, BATCH, shuffle=False) for rank in range(2)]
    functions = [lambda collective, mine=mine: _evaluate(job, mine, collective) for mine in rows]
    return keras_bench.ranks.try_run(functions)


def test_rows_of_validation(keras_bench):
    good = labelled(np.arange(100) % 3)
    words = "'label' of validation_data: label 3 is outside 0…2: 60 of 100 rows"
    with pytest.raises(Failed, match=words):
        keras_bench.train(
            sparse,
            good,
            validation=labelled(seven_classes()),
            config=keras_bench.config(loss="name"),
        )


def test_labels_that_are_not_whole_and_a_model_that_its_first_batch_builds(keras_bench):
    labels = (np.arange(100) % 3).astype("f4")
    config = {"loss": "object", "deferred": True}
    assert keras_bench.train(sparse, labelled(labels), config=keras_bench.config(**config))
    labels[5] = 0.5
    message = refusals(keras_bench, labelled(labels), **config)
    assert message.startswith("column 'label': label 0.5 is no class, which is a whole number: 1")


def test_labels_that_are_ignored_or_of_a_loss_of_the_users(keras_bench):
    labels = np.where(np.arange(100) % 5, np.arange(100) % 3, -1).astype("i4")
    for loss in ("ignoring", "own"):
        ran = keras_bench.train(sparse, labelled(labels), config=keras_bench.config(loss=loss))
        assert np.isfinite(ran[0].trained.history["loss"]).all()


def test_two_outputs_of_which_one_has_classes(keras_bench):
    config = keras_bench.config(
        SGD, outputs="list", losses={"rating": "mse", "click": "sparse_categorical_crossentropy"}
    )
    rows = {**columns(), "click": np.r_[np.zeros(99, "i4"), np.int32([4])]}
    data = Data.of(rows, (100,), features=("x",), labels={"rating": "label", "click": "click"})
    with pytest.raises(Failed, match="'click': label 4 is outside 0…0: 1 of 100 rows"):
        keras_bench.train(models.rated, data, config=config)


def test_strings_are_refused_with_what_numbers_them(ranks, spark):
    from pyspark.ml.feature import StringIndexer

    from tests.frameworks.ranks import train

    words = np.array([b"cat", b"dog"] * 50, object)
    with pytest.raises(Failed, match="column 'label' holds strings") as caught:
        train(ranks, sparse, labelled(words), config={"keras": 2, "loss": "name"})
    way = caught.value.message.splitlines()[1].partition(": ")[2].partition(", of ")[0]
    df = spark.createDataFrame([("cat",), ("dog",), ("cat",)], ["label"])
    numbered = eval(way, {"StringIndexer": StringIndexer, "df": df})
    assert [row["label_index"] for row in numbered.collect()] == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "given",
    [
        {"0": 0.5, "1": 2.0, " 2": 1.0},
        {np.int64(0): 0.5, np.float32(1): np.float32(2), 2.0: 1},
        {0: 0.5, True: 2.0, 2: 1.0},
    ],
)
def test_keys_that_mean_whole_numbers(given):
    assert class_weights(given) == {0: 0.5, 1: 2.0, 2: 1.0}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cat": 1.0}, "key 'cat' is no class"),
        ({1.5: 1.0}, "key 1.5 is no class"),
        ({-1: 1.0}, "key -1 is no class"),
        ({None: 1.0}, "key None is no class"),
        ({"0": 1.0, 0: 2.0}, "key 0 is there twice"),
        ({0: "1"}, "weight of class 0 is '1'"),
        ({0: float("nan")}, "weight of class 0 is nan"),
        ([1.0, 2.0], "is a list"),
    ],
)
def test_other_keys_are_refused_with_what_to_write(given, words):
    with pytest.raises(InvalidInputError) as caught:
        class_weights(given)
    first, second = str(caught.value).splitlines()
    assert words in first
    written = ast.literal_eval(second.split("class_weight=")[1])
    assert class_weights(written) == written


def test_no_weights_are_none():
    assert class_weights(None) is None and class_weights({}) is None


@pytest.mark.parametrize("counts", [(100,), COUNTS])
def test_weights_of_classes_that_there_are_not(keras_bench, counts):
    data, config = labelled(np.arange(100) % 3, counts), keras_bench.config(SGD, loss="name")
    with pytest.raises(Failed) as caught:
        keras_bench.train(sparse, data, config=config, class_weight={0: 2.0, 3: 5.0, 7: 1.0})
    assert caught.value.kind is ModelError
    first, second = caught.value.message.splitlines()
    assert first == "class_weight has the classes [3, 7], and there are 0…2"
    written = ast.literal_eval(second.split("class_weight=")[1])
    found = keras_bench.train(sparse, data, config=config, class_weight=written)
    same = keras_bench.train(sparse, data, config=config, class_weight={0: 2.0, 1: 1.0})
    plain = keras_bench.train(sparse, data, config=config)
    close(found[0].weights(), same[0].weights())
    assert found[0].trained.history != plain[0].trained.history


def test_weights_are_of_the_classes_of_the_output_that_has_the_label(keras_bench):
    data, config = labelled(np.arange(100) % 3), keras_bench.config(SGD)
    assert keras_bench.train(behind_another, data, config=config, class_weight={0: 2.0, 2: 3.0})
    with pytest.raises(Failed, match=r"class_weight has the classes \[3\], and there are 0…2"):
        keras_bench.train(behind_another, data, config=config, class_weight={3: 5.0})
    wide = keras_bench.config(SGD, width=5)
    with pytest.raises(Failed, match=r"class_weight has the classes \[3\], and there are 0…2"):
        keras_bench.train(behind_another, data, config=wide, class_weight={3: 5.0})


def behind_another(config):
    """Three classes, after an output that has no loss."""
    from tests.frameworks.models import keras_of, optimizer_of

    keras = keras_of(config)
    x = keras.Input((4,))
    first = keras.layers.Dense(config.get("width", 2), name="first")(x)
    out = keras.layers.Dense(3, activation="softmax", name="out")(first)
    model = keras.Model(x, [first, out])
    model.compile(optimizer_of(config), [None, "sparse_categorical_crossentropy"])
    return model


def test_weights_of_an_output_of_one_number(keras_bench):
    """There are the classes of two, and those that any rank's labels show."""
    rows = {**columns(), "y": np.r_[np.zeros(60), np.full(40, 4)].astype("f4")}
    data = Data.of(rows, COUNTS, features=("x", "u"))
    for weights in ({0: 2.0, 1: 3.0}, {4: 2.0}):
        assert keras_bench.train(models.embedded, data, class_weight=weights)
    with pytest.raises(Failed, match=r"classes \[5\], and there are 0, 1 and those in column 'y'"):
        keras_bench.train(models.embedded, data, class_weight={4: 2.0, 5: 1.0})


def test_numbers_of_classes_for_a_loss_of_one_hot_rows(keras_bench):
    data = labelled(np.tile(np.arange(3, dtype=np.int32), 34)[:100])
    with pytest.raises(Failed) as caught:
        keras_bench.train(sparse, data, config=keras_bench.config(loss="one-hot"))
    first, second = caught.value.message.splitlines()
    assert "takes 3 numbers a row, and label 'label' is one" in first
    assert "loss='sparse_categorical_crossentropy'" in second
    keras_bench.train(sparse, data, config=keras_bench.config(loss="name"))
    rows = {**columns(), "label": np.eye(3, dtype=np.float32)[data.merged().shards[0]["label"]]}
    one_hot = Data.of(rows, (100,), features=("x",), labels=("label",))
    keras_bench.train(sparse, one_hot, config=keras_bench.config(loss="one-hot"))


def test_more_labels_than_outputs(keras_bench):
    """Keras 2 trains on the first of them in silence."""
    data = Data.of(columns(), (100,), features=("x",), labels=("label", "flag"))
    with pytest.raises(Failed) as caught:
        keras_bench.train(sparse, data, config=keras_bench.config(loss="name"))
    first, second = caught.value.message.splitlines()
    assert "label_cols has 2 columns ['label', 'flag']" in first and "1 output" in first
    assert "label_cols=[[" in second
