"""When a stage ends for want of slots or for more of them: no stage, no clock, no Spark."""

import pytest

from zoo.orca.driver.elastic.decisions import (
    Memory,
    Sight,
    Terms,
    Verdict,
    fewer_workers,
    grown,
    judge,
)


def run(terms, *sights):
    """Judge sights one after another; return each verdict, up to the first that is one."""
    memory, verdicts = Memory(), []
    for sight in sights:
        memory, verdict = judge(terms, memory, sight)
        verdicts.append(verdict)
        if verdict is not None:
            break
    return verdicts


TWO = Terms(workers=2, wanted=2, patience=60)
ONE_OF_TWO = Terms(workers=1, wanted=2, patience=60)
SHORT, MORE = Verdict.SHORT, Verdict.MORE


def seen(now, slots, active=0, **more):
    return Sight(now=now, slots=slots, active=active, **more)


def test_a_stage_ends_once_slots_have_been_missing_for_the_patience():
    assert run(TWO, seen(5, 1), seen(64.9, 1), seen(65, 1)) == [None, None, SHORT]
    assert run(TWO, seen(5, 0), seen(65, 1)) == [None, SHORT]


def test_before_the_workers_begin_there_is_no_patience():
    assert run(TWO, seen(5, 1, begun=False)) == [Verdict.EARLY]
    assert run(TWO, seen(5, 2, begun=False), seen(9, 2, begun=False)) == [None, None]


def test_slots_that_come_back_in_time_begin_the_patience_anew():
    sights = [seen(0, 1), seen(50, 2), seen(61, 1), seen(120, 1), seen(121, 1)]
    assert run(TWO, *sights) == [None, None, None, None, SHORT]


def test_a_stage_whose_tasks_all_run_needs_no_slots():
    # An executor that is being decommissioned counts no more, and finishes its tasks.
    assert run(TWO, seen(0, 1, active=2), seen(100, 0, active=2)) == [None, None]
    assert run(TWO, seen(0, 1, active=1), seen(100, 1, active=1)) == [None, SHORT]


def test_more_slots_than_workers_are_nothing_to_a_stage_that_has_all_it_wants():
    assert run(TWO, seen(0, 9, free=7, epochs=1), seen(1, 9, free=7, epochs=2)) == [None, None]


def test_a_stage_ends_for_more_workers_at_the_next_checkpoint_and_not_before():
    sights = [seen(now, 2, free=1, epochs=epochs) for now, epochs in ((0, 3), (1, 3), (9, 4))]
    assert run(ONE_OF_TWO, *sights) == [None, None, MORE]
    assert run(ONE_OF_TWO, seen(0, 2, free=1), seen(1, 2, free=1, epochs=1)) == [None, MORE]


def test_slots_that_others_use_are_none():
    sights = [seen(0, 2, free=1, epochs=3), seen(1, 2, epochs=4), seen(2, 2, free=1, epochs=4)]
    assert run(ONE_OF_TWO, *sights) == [None, None, None]


@pytest.mark.parametrize(
    ("workers", "wanted", "slots", "free", "expected"),
    [
        (1, 4, 1, 0, 1),
        (1, 4, 3, 2, 3),
        (1, 4, 9, 8, 4),
        (1, 4, 9, 2, 3),  # others use the rest
        (3, 4, 2, 0, 3),  # an executor is about to go
        (3, 4, 9, -2, 3),  # tasks of less than a slot
        (2, 2, 9, 7, 2),
    ],
)
def test_how_many_there_could_be(workers, wanted, slots, free, expected):
    terms = Terms(workers=workers, wanted=wanted, patience=60)
    assert grown(terms, seen(0, slots, free=free)) == expected


@pytest.mark.parametrize(
    ("workers", "least", "slots", "expected"),
    [
        (4, 1, 3, 3),
        (4, 1, 1, 1),
        (4, 1, 0, None),
        (4, 3, 3, 3),
        (4, 3, 2, None),
        (4, 4, 3, None),
        (4, 2, 9, 4),
        (4, 3, None, 3),
        (3, 3, None, None),
        (1, 1, None, None),
    ],
)
def test_with_how_many_to_go_on(workers, least, slots, expected):
    assert fewer_workers(workers, least, slots) == expected


def test_rounds_end_whatever_the_slots_do():
    for workers in range(1, 9):
        for least in range(1, workers + 1):
            for slots in (None, *range(workers)):
                fits = fewer_workers(workers, least, slots)
                assert fits is None or least <= fits < workers
