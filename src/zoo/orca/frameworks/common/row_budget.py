"""How many rows a model takes at once: so many that calls cost little, so few that they fit.

A call costs about the same for one row as for a thousand. What a row needs, each framework finds
out in its own way, and in the same way in every run: so the number, and with it the last bit of a
prediction, is the same.
"""

from typing import Final

#: With more rows than this a call's own cost is no longer seen.
MOST_ROWS: Final = 1 << 16
#: What Keras takes at once by itself, and so a number that fits where nothing is known.
FEWEST_ROWS: Final = 32
#: Bytes of all that one call makes. Little of it lives at the same time.
_BYTES: Final = 256 << 20
_NUMBER_BYTES: Final = 4


def rows_within(numbers: int) -> int:
    """Return how many rows to call a model with.

    Parameters
    ----------
    numbers : int
        How many numbers the model makes of one row; 0: nothing is known about it.
    """
    if not numbers:
        return FEWEST_ROWS
    return max(FEWEST_ROWS, min(MOST_ROWS, _BYTES // (numbers * _NUMBER_BYTES)))
