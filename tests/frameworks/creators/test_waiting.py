"""A loader that makes no batch for long is told of, with its rank, and is waited for."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.frameworks.bench import Bench
from tests.frameworks.creators.created import BATCH, NOTHING, all_rows, batch, created, cut
from tests.frameworks.families import FAMILIES
from tests.frameworks.ranks import job_of, train_here
from zoo.orca.frameworks.creators import waiting
from zoo.orca.frameworks.creators.waiting import Waiting
from zoo.orca.wire.job import TrainJob

pytestmark = pytest.mark.timeout(120)


#: Seconds that a loader blocks; a third of it is not too long for a first batch.
BLOCK = 4.0


def of_waiting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "orca-waiting"]


def test_a_long_block_is_told_of_at_growing_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS", 0.1)
    told: list[Any] = []
    watched = Waiting(told.append, "for {seconds} s")
    with watched:
        time.sleep(1.0)
    # After 0.1 s, then after about 0.2, 0.4 and 0.8 s.
    assert 2 <= len(told) <= 4
    assert told[0].text == "for 0 s"
    told.clear()
    with watched:
        pass
    time.sleep(0.3)
    assert not told
    with watched:
        time.sleep(0.5)
    assert told
    del watched
    deadline = time.monotonic() + 5
    while of_waiting() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not of_waiting()


@pytest.mark.parametrize("kind", ["generator", "pipeline", "creator"])
def test_the_rank_that_is_late_is_told(bench: Bench, kind: str) -> None:
    framework, model, config = bench.family.framework, bench.family.embedding, bench.config()
    if framework == "torch" and kind == "pipeline":
        pytest.skip("not for PyTorch")
    if bench.family in (FAMILIES["keras-tensorflow"], FAMILIES["keras-torch"]):
        pytest.skip("Keras 3 is tried on JAX")

    def generator(rank):
        for start in range(0, 48, 12):
            if rank == 1 and start == 24:
                time.sleep(BLOCK)
            yield batch(framework, cut(all_rows(), start, start + 12))

    def creator(config, batch_size):
        rank = config["rank"]
        if kind == "creator" and rank == 1:
            time.sleep(BLOCK)
        if kind != "pipeline":
            return generator(-1 if kind == "creator" else rank)
        import tensorflow as tf

        first = next(generator(rank))
        signature = tf.nest.map_structure(
            lambda one: tf.TensorSpec((None, *one.shape[1:]), one.dtype), first
        )
        return tf.data.Dataset.from_generator(lambda: generator(rank), output_signature=signature)

    def run(collective):
        told: list[Any] = []
        data = created(creator, config=config, report=told.append)
        job = job_of(
            TrainJob,
            model,
            NOTHING,
            framework=framework,
            config=config,
            batch_size=BATCH,
        )
        if kind == "pipeline":
            import tensorflow as tf

            # To import it and to begin its first pipeline may take longer than the limit below.
            signature = tf.TensorSpec((), tf.int32)
            begun = tf.data.Dataset.from_generator(lambda: iter([0]), output_signature=signature)
            assert [int(one) for one in begun] == [0]
        waiting.SECONDS = BLOCK / 3
        try:
            train_here(replace(job, creator=data.creator), data, None, collective)
        finally:
            waiting.SECONDS = 60.0
        return [one.text for one in told]

    first, second = bench.ranks.run([run] * 2)
    late = "rank 1 has had no batch of data for "
    waits = "rank 0 has waited for another worker's next batch of data for "
    if framework == "tf2" and kind == "pipeline":
        # TensorFlow runs the loader, and Orca sees what comes out.
        assert any(text.startswith(waits) for text in first)
        return
    assert any(text.startswith(late) for text in second)
    assert not any(text.startswith("rank 0 has had no batch") for text in first)
