"""Whatever labels, losses, weights and metrics plain Keras takes beside a model's outputs."""

import numpy as np
import pytest

from tests.frameworks.bench import close
from tests.frameworks.keras.columns import label_shapes
from tests.frameworks.ranks import Data, Failed, same_on_all

pytestmark = pytest.mark.timeout(300)


def refused_on_purpose(wrong):
    """A list of columns for a dict of outputs, which Keras sorts."""
    combo, error = wrong[:2]
    return combo["outputs"] == "dict" and combo["labels"] == ["y", "z"] and "no order" in error


def test_one_worker_makes_of_them_what_plain_keras_does(keras_bench):
    left, seen = list(label_shapes.combinations()), set()
    asked = (keras_bench.config(), keras_bench.family.framework)
    taken, wrong = 0, []
    while left:  # in parts, as a rank has to answer in time
        swept = keras_bench.ranks.alone(label_shapes.swept_by_pairs, *asked, left, seen, 20)
        left, seen = swept["left"], swept["seen"]
        taken, wrong = taken + swept["taken"], wrong + swept["wrong"]
    assert taken > 40 and len(seen) > 150
    assert [one for one in wrong if not refused_on_purpose(one)] == []


@pytest.mark.parametrize("weight", [{"main": "w"}, {"main": "w", "aux": "v"}, {"aux": "v"}])
def test_weights_of_single_outputs(keras_bench, weight):
    by_name = {
        "outputs": "dict",
        "loss": {"main": "mse", "aux": "mae"},
        "labels": {"main": "y", "aux": "z"},
        "metrics": {"main": ["mae"], "aux": ["mae"]},
    }
    in_a_list = {"outputs": "list", "loss": "mse", "labels": ["y", "z"], "metrics": None}
    combos = [{**combo, "weight": weight} for combo in (by_name, in_a_list)]
    swept = keras_bench.ranks.alone(
        label_shapes.swept, keras_bench.config(), keras_bench.family.framework, combos
    )
    assert swept == {"taken": 2, "wrong": []}


def test_weights_of_outputs_that_are_not_there(keras_bench):
    combo = {"outputs": "list", "loss": "mse", "labels": {"main": "y", "aux": "z"}, "metrics": None}
    config = keras_bench.config(**combo, weight={"mane": "w"})
    fields = {"features": ("x",), "labels": combo["labels"], "weight": {"mane": "w"}}
    data = Data.of(label_shapes.rows(), (label_shapes.ROWS,), **fields)
    words = r"the outputs \['mane'\](.|\n)*sample_weight_col=\{'main': 'w'\}"
    with pytest.raises(Failed, match=words):
        keras_bench.train(label_shapes.shaped, data, config=config)


def test_one_output_may_be_named_for_its_weights_and_those_of_classes_multiply(keras_bench):
    found = []
    for weight in ("w", {"main": "w"}):
        combo = {"outputs": "one", "loss": "mse", "labels": ["c"], "metrics": None}
        config = keras_bench.config(**combo, weight=weight)
        rows = {**label_shapes.rows(24), "c": (np.arange(24) % 2).astype("f4")}
        data = Data.of(rows, (24,), features=("x",), labels=("c",), weight=weight)
        ran = keras_bench.train(
            label_shapes.shaped, data, batch_size=10, config=config, class_weight={0: 3.0}
        )
        found.append(ran[0].trained.history)
    assert found[0] == found[1]


#: What several workers, and functions of several steps, are tried with.
SOME = (
    {"outputs": "list", "loss": ["mse", None], "labels": ["y"]},
    {"outputs": "list", "loss": "mse", "labels": {"main": "y", "aux": "z"}, "weight": "w"},
    {"outputs": "dict", "loss": {"main": "mse"}, "labels": {"main": "y"}},
    {"outputs": "dict of one", "loss": "mse", "labels": ["y"], "weight": "w"},
    {
        "outputs": "list",
        "loss": "mse",
        "labels": {"main": "y", "aux": "z"},
        "weight": {"aux": "v"},
    },
)
#: Those that only Keras 2 takes.
SOME_OF_KERAS_2 = (
    {"outputs": "list", "loss": "mse", "labels": ["y"], "metrics": ["mae"]},
    {"outputs": "list", "loss": {"main": "mse"}, "labels": {"main": "y"}, "weight": "w"},
)


def test_several_workers_make_of_them_what_one_does(keras_bench):
    is_keras2 = keras_bench.family.framework == "tf2"
    for combo in (*SOME, *(SOME_OF_KERAS_2 if is_keras2 else ())):
        combo = {"weight": None, "metrics": None, **combo, "eager": False}
        config = keras_bench.config(**combo)
        fields = {"labels": combo["labels"], "weight": combo["weight"]}
        # Full batches: Keras 3 on TensorFlow counts batches, not rows, for an output's own loss.
        data = Data.of(label_shapes.rows(20), (11, 9), features=("x",), **fields)
        ran = keras_bench.train(label_shapes.shaped, data, batch_size=10, config=config)
        same_on_all(ran)
        alone = keras_bench.train(
            label_shapes.shaped,
            data.in_order(10, 2),
            batch_size=10,
            steps_per_epoch=2,
            shuffle=False,
            config=config,
        )[0]
        close(ran[0].weights(), alone.weights())
        for name, values in alone.trained.history.items():
            assert ran[0].trained.history[name] == pytest.approx(values, rel=1e-5), name


def test_a_batch_of_as_many_rows_as_there_are_outputs(keras_bench):
    """Plain Keras 3 takes such a label for one row an output."""
    combo = {"outputs": "list", "loss": ["mse", None], "weight": None, "metrics": None}
    config, found = keras_bench.config(**combo), []
    for labels in (["y"], {"main": "y"}):
        data = Data.of(label_shapes.rows(22), (22,), features=("x",), labels=labels)
        ran = keras_bench.train(label_shapes.shaped, data, batch_size=2, config=config)
        found.append(ran[0].trained.history["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-6)
