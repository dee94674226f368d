"""Workers meet at the driver: all of one attempt, or nobody is told anything."""

import json

from zoo.orca.driver.meeting import MeetingPlace


def come(place, rank, task, size, told, address=None):
    def reply(line):
        told.append((rank, json.loads(line)["addresses"]))

    where = address or f"{rank}@{task}"
    place.join({"rank": rank, "task": task, "size": size, "address": where}, reply)
    return reply


def test_the_last_to_come_sets_off_the_replies():
    place, told = MeetingPlace(), []
    for rank, task in ((2, 40), (0, 41)):
        come(place, rank, task, 3, told)
    assert told == []
    come(place, 1, 42, 3, told)
    assert sorted(told) == [(rank, ["0@41", "1@42", "2@40"]) for rank in range(3)]


def test_attempts_do_not_mix():
    place, told = MeetingPlace(), []
    come(place, 0, 10, 2, told)  # its peer, task 11, is lost before it comes
    come(place, 1, 13, 2, told)
    assert told == []
    come(place, 0, 12, 2, told)
    assert sorted(told) == [(0, ["0@12", "1@13"]), (1, ["0@12", "1@13"])]


def test_a_second_attempt_meets_like_the_first():
    place, told = MeetingPlace(), []
    for task in (10, 11, 12, 13):
        come(place, task % 2, task, 2, told)
    assert [addresses for _, addresses in told] == 2 * [["0@10", "1@11"]] + 2 * [["0@12", "1@13"]]


def test_who_hangs_up_is_forgotten():
    place, told = MeetingPlace(), []
    place.leave(come(place, 0, 11, 2, told))
    come(place, 1, 12, 2, told)
    assert told == []
    come(place, 0, 13, 2, told)
    assert sorted(told) == [(0, ["0@13", "1@12"]), (1, ["0@13", "1@12"])]


def test_a_rank_that_cannot_be_told_keeps_nobody_else_from_it():
    def broken(line):
        raise OSError

    place, told = MeetingPlace(), []
    place.join({"rank": 0, "task": 5, "size": 2, "address": "a"}, broken)
    come(place, 1, 6, 2, told, "b")
    assert told == [(1, ["a", "b"])]
