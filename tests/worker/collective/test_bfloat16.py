"""Rounding to half of a float32, against what it must be by definition."""

import numpy as np
import pytest

from zoo.orca.worker.collective.bfloat16 import rounded_of, widened


def through(*values: float) -> list[float]:
    """What values are once they have been halves."""
    return widened(rounded_of(np.array(values, np.float32))).tolist()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 1.0),
        (1 + 2**-8, 1.0),  # a tie: down to the even one
        (1 + 3 * 2**-8, 1 + 2**-6),  # a tie: up to the even one
        (1 + 2**-8 + 2**-20, 1 + 2**-7),
        (1 + 2**-8 - 2**-20, 1.0),
        (-1 - 3 * 2**-8, -1 - 2**-6),
        (256.0, 256.0),
        (257.0, 256.0),
        (2.0**-133, 2.0**-133),  # the smallest half above 0
        (2.0**-134, 0.0),
        (3.4028235e38, np.inf),
        (np.inf, np.inf),
        (-np.inf, -np.inf),
    ],
)
def test_to_nearest_and_ties_to_even(value: float, expected: float) -> None:
    assert through(value) == [expected]


def test_the_sign_of_zero_stays() -> None:
    assert np.signbit(through(0.0, -0.0, -1e-45)).tolist() == [False, True, True]


def test_every_nan_stays_one() -> None:
    bits = np.array([0x7FC00000, 0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF], np.uint32)
    found = widened(rounded_of(bits.view(np.float32)))
    assert np.isnan(found).all()
    assert np.signbit(found).tolist() == [False, False, False, True, True]


def test_every_half_is_itself() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    values = widened(halves)
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(rounded_of(values)[numbers], halves[numbers])


def test_no_other_half_is_nearer() -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal(100_003).astype(np.float32)
    halves = rounded_of(values)
    error = np.abs(widened(halves).astype(np.float64) - values)
    for other in (halves - np.uint16(1), halves + np.uint16(1)):
        assert (error <= np.abs(widened(other).astype(np.float64) - values)).all()
    assert (error <= 2.0**-8 * np.abs(values)).all()
