"""How many rows a model takes at once: enough to make calls cheap, few enough to fit in memory.

A call costs about the same for one row as for a thousand. Each framework finds the memory of a row
in its own way, but the same way in every run. So the number of rows is the same in every run, and
so is the last bit of a prediction.
"""

from typing import Final

#: With more rows than this, a call's own cost is negligible.
MOST_ROWS: Final = 1 << 16
#: Keras's own default, and so a number that fits if the model's size is unknown.
FEWEST_ROWS: Final = 32
#: Bytes of everything that one call makes. Little of it is alive at the same time.
_BYTES: Final = 256 << 20
_NUMBER_BYTES: Final = 4


def rows_within(numbers: int) -> int:
    """Return how many rows to call a model with.

    Parameters
    ----------
    numbers : int
        How many numbers the model makes of one row; 0: unknown.
    """
    if not numbers:
        return FEWEST_ROWS
    return max(FEWEST_ROWS, min(MOST_ROWS, _BYTES // (numbers * _NUMBER_BYTES)))
