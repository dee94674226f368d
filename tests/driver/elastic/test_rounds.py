"""Which stages a call runs, one after another, and what it says: no stage runs here."""

import pytest

from zoo.orca.driver.elastic import rounds
from zoo.orca.driver.elastic.rounds import Elastic
from zoo.orca.driver.elastic.watch import SlotsAreBack
from zoo.orca.errors import DataError, SlotsError


def lost(slots):
    error = SlotsError("executors were lost")
    error.slots = slots
    return error


class Stages:
    """Stages that end as they are told to."""

    def __init__(self, *ends):
        self.ends, self.workers = list(ends), []

    def __call__(self, workers):
        self.workers.append(workers)
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


@pytest.fixture
def elastic(tmp_path):
    """A call of four workers that goes on with two, after three epochs of earlier calls."""
    said = []
    made = Elastic(
        wanted=4,
        least=2,
        patience=7.0,
        master="spark://here",
        checkpoints=str(tmp_path),
        first_epoch=3,
        tell=said.append,
    )
    return made, said, tmp_path


def test_fewer_then_more_then_done(elastic):
    call, said, _ = elastic
    stages = Stages(lost(2), SlotsAreBack(3), SlotsAreBack(4), "outcome")
    assert call.run(stages) == "outcome"
    assert stages.workers == [4, 2, 3, 4]
    assert said == [
        "slots for 2 of 4 workers are missing: going on with 2 from epoch 4",
        "slots for 3 workers are back: going on with 3 from epoch 4",
        "slots for 4 workers are back: going on with 4 from epoch 4",
    ]


def test_it_goes_on_from_the_newest_checkpoint(elastic):
    call, said, directory = elastic
    (directory / "00000005-0000000000.state").touch()
    assert call.run(Stages(lost(3), "outcome")) == "outcome"
    assert said == ["slots for 1 of 4 workers are missing: going on with 3 from epoch 6"]


def test_too_few_slots_are_one_error_with_the_numbers_and_the_way_out(elastic):
    call, said, directory = elastic
    (directory / "00000005-0000000000.state").touch()
    with pytest.raises(SlotsError) as caught:
        call.run(Stages(lost(3), lost(1)))
    assert str(caught.value).splitlines() == [
        "min_workers=2: 2 workers need 2 slots at the same time, and spark://here has 1",
        "Bring executors back, lower min_workers to 1, or wait longer (spark.orca.elastic.patience)"
        f", and call again: fit(resume=True) goes on after epoch 5, which is in {directory}",
    ]
    assert len(said) == 1


def test_no_slot_at_all_is_no_number_to_ask_for(elastic):
    call, _, _ = elastic
    with pytest.raises(SlotsError) as caught:
        call.run(Stages(lost(0)))
    assert "lower" not in str(caught.value) and "trained until" not in str(caught.value)


def test_where_nobody_knows_the_slots_it_waits_once_and_then_tries_one_fewer(elastic, monkeypatch):
    call, said, _ = elastic
    waited = []
    monkeypatch.setattr(rounds.time, "sleep", waited.append)
    stages = Stages(lost(None), lost(None), lost(None), "outcome")
    assert call.run(stages) == "outcome"
    assert stages.workers == [4, 4, 3, 2] and waited == [7.0]
    assert [line.rpartition("with ")[2] for line in said] == ["3 from epoch 4", "2 from epoch 4"]
    with pytest.raises(SlotsError, match="spark://here has fewer"):
        call.run(Stages(*[lost(None)] * 4))


def test_other_errors_end_the_call(elastic):
    call, said, _ = elastic
    with pytest.raises(DataError):
        call.run(Stages(DataError("nulls")))
    assert not said
