"""Who goes when too many connect: those that are old, and of many the oldest."""

import errno

import pytest

from zoo.orca.wire.strangers import PAUSE_SECONDS, Strangers


def of(count: int, most: int = 3) -> Strangers[int]:
    """Return a listener's strangers, who came a tenth of a second apart, from 0 on."""
    strangers: Strangers[int] = Strangers(5.0, most)
    for number in range(count):
        strangers.add(number, number / 10)
    return strangers


def test_a_few_have_their_time() -> None:
    strangers = of(2)
    assert strangers.may_accept(4.9)
    assert strangers.to_drop(4.9) == []
    assert strangers.to_drop(5.05) == [0]
    assert strangers.to_drop(9.0) == [0, 1]


def test_of_many_the_oldest_go_and_the_young_are_waited_for() -> None:
    strangers = of(3)
    assert not strangers.may_accept(0.2)
    assert strangers.to_drop(0.2) == []
    assert strangers.to_drop(0.3) == [0]
    strangers.discard(0)
    assert strangers.may_accept(0.3)
    assert strangers.to_drop(0.3) == []


def test_a_peer_that_has_proved_itself_is_no_stranger() -> None:
    strangers = of(3)
    strangers.discard(1)
    strangers.discard(1)
    assert 1 not in strangers
    assert strangers.to_drop(9.0) == [0, 2]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_room_there_is_a_pause_in_which_the_oldest_go(code: int) -> None:
    strangers = of(2)
    strangers.fail(OSError(code, "no room"), 0.3)
    assert not strangers.may_accept(0.3)
    assert strangers.to_drop(0.3) == [0]
    assert strangers.may_accept(0.3 + PAUSE_SECONDS)


def test_another_failure_is_the_connections_own() -> None:
    strangers = of(2)
    strangers.fail(ConnectionAbortedError(errno.ECONNABORTED, "gone"), 0.3)
    assert strangers.may_accept(0.3)
