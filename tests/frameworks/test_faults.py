"""What goes wrong says so on every rank and soon, in every framework."""

import time
from dataclasses import replace

import cloudpickle
import numpy as np
import pytest

from tests.frameworks.bench import BATCH, columns, embedded
from tests.frameworks.ranks import Data, Failed, job_of, train_here
from zoo.orca.errors import ModelError, PeerLostError
from zoo.orca.wire.job import TrainJob
from zoo.orca.wire.messages.progress import Warned

pytestmark = pytest.mark.timeout(300)

COUNTS = (47, 53)
#: Seconds, imports included; ranks that wait for each other would take the ring's 120.
SOON = 60


def broken(bench, creators, data, functions=None):
    """What a `fit` ends with on each rank; ranks may differ, as machines do.

    `functions` are called after each rank's steps.
    """

    def of_rank(rank):
        job = job_of(
            TrainJob,
            creators[rank],
            data.spec,
            batch_size=BATCH,
            config=bench.config(),
            framework=bench.family.framework,
        )
        rows, callback = data.rows(rank, BATCH), bench.family.callback

        def run(collective):
            given = job
            if functions is not None:
                given = replace(job, callbacks=cloudpickle.dumps([callback(functions[rank])]))
            return train_here(given, rows, None, collective)

        return run

    began = time.monotonic()
    answers = bench.ranks.try_run([of_rank(rank) for rank in range(2)])
    assert time.monotonic() - began < SOON
    assert all(isinstance(answer, Failed) for answer in answers), answers
    return answers


def lost(answer):
    """Whether a rank ended because the other was gone, and says which."""
    assert answer.kind is PeerLostError, answer
    assert "rank 1" in answer.message or "worker 1" in answer.message, answer.message


def test_creator_raises_on_one_rank(bench):
    def creator(config):
        raise OSError("no vocabulary on this machine")

    family = bench.family
    creators = [family.embedding, family.of_model(creator)]
    answers = broken(bench, creators, embedded(COUNTS))
    assert answers[1].kind is OSError
    assert "no vocabulary on this machine" in answers[1].message
    lost(answers[0])


def test_callback_raises_in_a_step_on_one_rank(bench):
    def after():
        done.append(1)
        if len(done) == 2:
            raise ZeroDivisionError("the user's own error")

    done = []
    answers = broken(
        bench, [bench.family.embedding] * 2, embedded(COUNTS), functions=[lambda: None, after]
    )
    assert answers[1].kind is ZeroDivisionError
    assert "the user's own error" in answers[1].message
    lost(answers[0])


def test_classes_that_do_not_exist_on_one_rank(bench):
    data = Data.of(columns(), COUNTS, features=("x",), labels=("label",))
    data.shards[1]["label"] = np.full_like(data.shards[1]["label"], 7)
    answers = broken(bench, [bench.family.classifier] * 2, data)
    assert "label 7 is outside 0…2" in answers[1].message
    # Found before the first step, by all ranks together.
    assert answers[0].message == answers[1].message


def test_step_fails_on_one_rank(bench):
    if bench.family.bad_index is None:
        pytest.skip("an index outside of a table gives NaN here")
    data = embedded(COUNTS)
    data.shards[1]["u"] = np.where(np.arange(COUNTS[1]) < 2, 0, 700).astype(np.int32)
    answers = broken(bench, [bench.family.embedding] * 2, data)
    assert bench.family.bad_index in answers[1].message.lower()
    lost(answers[0])


@pytest.mark.parametrize(("made", "named"), [(None, "None"), ({}, "builtins.dict")])
def test_creator_makes_no_model(bench, made, named):
    creator = bench.family.of_model(lambda config: made)
    for answer in broken(bench, [creator] * 2, embedded(COUNTS)):
        assert answer.kind is ModelError
        assert named in answer.message


@pytest.mark.parametrize("features", [("x",), ("x", "u", "w")])
def test_wrong_number_of_columns(bench, features):
    data = Data.of(columns(), COUNTS, features=features)
    for answer in broken(bench, [bench.family.embedding] * 2, data):
        assert answer.kind is ModelError
        assert str(list(features)) in answer.message
        assert "['x', 'u']" in answer.message


def test_nan_is_one_warning_and_training_goes_on(bench):
    data = embedded(COUNTS)
    data.shards[1]["y"][5] = np.nan
    ran = bench.train(bench.family.embedding, data, epochs=3)
    warnings = [progress for progress in ran[0].progress if isinstance(progress, Warned)]
    assert len(warnings) == 1
    assert "loss" in warnings[0].text and "epoch 1" in warnings[0].text
    assert all(not [p for p in other.progress if isinstance(p, Warned)] for other in ran[1:])
    assert len(ran[0].trained.history["loss"]) == 3
