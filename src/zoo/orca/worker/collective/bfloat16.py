"""Numbers of half the bytes: float32 rounded to bfloat16 and widened again, in numpy.

A bfloat16 is the upper half of a float32: its sign, its exponent, and 7 of 23 bits. numpy has no
such type, so the halves are arrays of uint16.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Halves = NDArray[np.uint16]

#: Numbers that are rounded at once, so that what is between lies in the processor's cache.
_AT_ONCE: Final = 32 << 10
#: The bit that makes a NaN a quiet one: it stays when the lower bits are dropped.
_QUIET: Final = 0x40


def round_to(halves: Halves, values: NDArray[Any]) -> None:
    """Write `values`, of float32, to `halves`, rounded to nearest, ties to even; NaN stays NaN."""
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        bits = part.view(np.uint32)
        # The lower half's largest number below a tie is added, and one more if the last bit that
        # stays is odd. So ties go to even, and the largest numbers to infinity.
        up = bits >> 16
        up &= 1
        up += 0x7FFF
        up += bits
        up >>= 16
        out = halves[start : start + _AT_ONCE]
        out[...] = up
        nan = np.isnan(part)
        if nan.any():
            out[nan] = (bits[nan] >> 16) | _QUIET


def widen_to(values: NDArray[Any], halves: Halves) -> None:
    """Write `halves` to `values`, of float32; every one is exact."""
    bits = values.view(np.uint32)
    bits[...] = halves
    bits <<= 16


def rounded_of(values: NDArray[Any]) -> Halves:
    """Return `values`, of float32, as halves."""
    halves = np.empty(len(values), np.uint16)
    round_to(halves, values)
    return halves


def widened(halves: Halves) -> NDArray[np.float32]:
    """Return `halves` as float32."""
    values = np.empty(len(halves), np.float32)
    widen_to(values, halves)
    return values
