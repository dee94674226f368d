"""What holds for every framework: n workers equal one, and a job that goes on an unbroken one."""

from functools import partial

import numpy as np
import pytest

from tests.frameworks import ncf_by_hand
from tests.frameworks.apart import apart
from tests.frameworks.bench import ADAM, BATCH, MOMENTUM, ROWS, SGD, columns, embedded
from tests.frameworks.families import FAMILIES
from tests.frameworks.ranks import (
    Data,
    evaluate,
    job_of,
    predict_job,
    predicted,
    same_on_all,
)
from zoo.orca.wire.job import TrainJob

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("optimizer", "counts"),
    [(SGD, (47, 53)), (MOMENTUM, (50, 50)), (ADAM, (30, 41, 29))],
)
def test_workers_equal_one(bench, optimizer, counts):
    bench.check(bench.family.embedding, embedded(counts), config=bench.config(optimizer))


def test_a_rank_without_rows_in_some_steps(bench):
    bench.check(bench.family.embedding, embedded((97, 3)))


def test_weights_of_rows(bench):
    bench.check(bench.family.embedding, embedded((47, 53), weight="w"))


def test_weights_of_classes(bench):
    if not bench.family.class_weights:
        pytest.skip("this framework's jobs have no class weights")
    data = Data.of(columns(), (47, 53), features=("x",), labels=("label",))
    bench.check(bench.family.classifier, data, class_weight={0: 0.5, 1: 2.0, 2: 1.0})


def test_loss_that_is_a_sum(bench):
    config = bench.config(("SGD", {"learning_rate": 0.001}))
    ran = bench.check(bench.family.summed, embedded((47, 53)), config=config)
    assert ran[0].trained.history["loss"][0] > 20


def test_two_inputs_and_two_outputs(bench):
    data = Data.of(columns(), (47, 53), features=("x", "w"), labels=("y", "flag"))
    bench.check(bench.family.two_inputs, data, config=bench.config(SGD))


def test_statistics_are_equal_on_all_ranks(bench):
    data = Data.of(columns(), (97, 3), features=("x",))
    ran = bench.train(bench.family.batchnorm, data, validation=data, epochs=2)
    same_on_all(ran)
    moved = [v for n, v in ran[0].weights().items() if "mean" in n and v.shape == (4,)]
    assert moved and np.abs(moved[0]).max() > 1e-3
    assert np.isfinite(ran[0].trained.history["loss"]).all()


def test_evaluate_is_exact(bench):
    data = embedded((80, 23))
    state = bench.train(bench.family.embedding, data)[0].trained.state
    common = {
        "batch_size": BATCH,
        "config": bench.config(),
        "state": state,
        "framework": bench.family.framework,
    }
    found = evaluate(bench.ranks, bench.family.embedding, data, **common)
    assert found[0] == found[1]
    alone = evaluate(bench.ranks, bench.family.embedding, data.merged(), **common)[0]
    assert list(found[0]) == list(alone)
    np.testing.assert_allclose(list(found[0].values()), list(alone.values()), rtol=1e-5)


@pytest.mark.parametrize("counts", [(47, 53), (100,)])
def test_a_fit_goes_on_where_the_last_one_ended(bench, counts):
    data = embedded(counts)
    whole = bench.train(bench.family.embedding, data, epochs=3)[0].trained
    first = bench.train(bench.family.embedding, data, epochs=1)[0].trained
    second = bench.train(
        bench.family.embedding, data, epochs=2, initial_epoch=1, state=first.state
    )[0].trained
    for name, value in whole.state.tensors.items():
        np.testing.assert_array_equal(second.state.tensors[name], value, err_msg=name)
    assert second.state.meta == whole.state.meta
    joined = {name: first.history[name] + values for name, values in second.history.items()}
    assert joined == whole.history


def test_the_phases_of_a_profile_add_up_to_the_whole(bench):
    data = embedded((47, 53))
    for ran in bench.train(bench.family.embedding, data, validation=data, epochs=3, profile=True):
        phases = dict(ran.timings.phases)
        validation = phases.pop("of which validation")
        assert 0 < validation < phases["epochs"]
        # Nothing that takes time is left over for what comes after training.
        assert phases["taking the state"] < phases["epochs"]
        assert sum(phases.values()) == pytest.approx(ran.seconds, abs=0.05)
        assert sum(ran.timings.parts.values()) <= phases["epochs"]


def test_predictions_do_not_depend_on_batches(bench):
    data = embedded((100,))
    state = bench.train(bench.family.embedding, data)[0].trained.state
    spec = type(data.spec)(features=data.spec.features)
    job = predict_job(
        bench.family.embedding,
        spec,
        state=state,
        config=bench.config(),
        framework=bench.family.framework,
    )
    whole, pieces = bench.ranks.alone(in_pieces, job, data.shards[0])
    assert whole.shape[0] == ROWS
    np.testing.assert_allclose(pieces, whole, rtol=1e-5, atol=1e-6)


def in_pieces(job, columns):
    cuts = (slice(0, 7), slice(7, 70), slice(70, None))
    pieces = [
        predicted(job, {name: values[cut] for name, values in columns.items()})[0][0]
        for cut in cuts
    ]
    return predicted(job, columns)[0][0], np.concatenate(pieces)


STEPS = 200


def ratings(steps: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Rows of so many batches, in none of which an id comes twice, and NCF's first weights."""
    random = np.random.default_rng(3)
    rows = {
        name: np.concatenate([random.permutation(64)[:32] for _ in range(steps)]).astype(np.int32)
        for name in ("user", "item")
    }
    rows["label"] = ((rows["user"] * 7 + rows["item"]) % 5).astype(np.int32)
    shapes = {n: (64, 4) for n in ("gmf_user", "gmf_item", "mlp_user", "mlp_item")}
    shapes |= {"hidden": (8, 8), "out": (12, 5)}
    return rows, {n: random.normal(0, 0.3, s).astype(np.float32) for n, s in shapes.items()}


def test_ncf_has_the_loss_curve_of_plain_numpy(bench):
    """Of Adam, over 200 batches: to one part in ten thousand, and so the same in every framework.

    No id comes twice in a batch: Keras 3 on TensorFlow squares the gradient of each occurrence by
    itself, the others that of their sum. Adam's epsilon is next to nothing: Keras adds it before
    the correction of the second moment's bias, PyTorch after it.
    """
    rows, weights = ratings(STEPS)
    ran = bench.train(
        bench.family.ncf,
        Data.of(rows, (32 * STEPS,), features=("user", "item"), labels=("label",)),
        batch_size=32,
        epochs=STEPS,
        steps_per_epoch=1,
        shuffle=False,
        config=bench.config(("Adam", {"learning_rate": 0.01, "epsilon": 1e-12}), weights=weights),
    )
    batches = (
        {name: values[k * 32 : (k + 1) * 32] for name, values in rows.items()} for k in range(STEPS)
    )
    expected = ncf_by_hand.losses(weights, batches, rate=0.01, epsilon=1e-12)
    assert expected[-1] < 0.8 * expected[0]
    np.testing.assert_allclose(ran[0].trained.history["loss"], expected, rtol=1e-4)


def test_rounded_gradients_train_the_recommender_as_well(bench):
    """To one part in a hundred of the loss; every rank has the same weights, bit for bit."""
    if bench.family in (FAMILIES["keras-tensorflow"], FAMILIES["keras-torch"]):
        pytest.skip("their gradients are summed as those of tf2")
    rows, weights = ratings(40)
    data = Data.of(rows, (640, 640), features=("user", "item"), labels=("label",))
    fields = {
        "batch_size": 32,
        "epochs": 4,
        "config": bench.config(("Adam", {"learning_rate": 0.01}), weights=weights),
    }
    exact = bench.train(bench.family.ncf, data, **fields)[0].trained.history["loss"]
    framework = bench.family.framework
    fields |= {"framework": framework, "rounds_gradients": True, "validate": False}
    job = job_of(TrainJob, bench.family.ncf, data.spec, **fields)
    ran = bench.ranks.run([partial(apart, job, data.rows(rank, 32)) for rank in range(2)])
    same_on_all(ran)
    found = ran[0].trained.history["loss"]
    assert found != exact and exact[-1] < 0.9 * exact[0]
    np.testing.assert_allclose(found, exact, rtol=1e-2)
