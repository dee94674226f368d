"""How many rows a call takes, by what a model makes of one."""

import pytest

from zoo.orca.frameworks.common.row_budget import FEWEST_ROWS, MOST_ROWS, rows_within


@pytest.mark.parametrize(
    ("numbers", "rows"),
    [
        (0, FEWEST_ROWS),  # nothing is known
        (1, MOST_ROWS),
        (1 << 10, MOST_ROWS),
        (1 << 12, 1 << 14),
        (3 << 12, (1 << 14) // 3),
        (1 << 21, FEWEST_ROWS),
        (1 << 40, FEWEST_ROWS),
    ],
)
def test_rows_are_as_many_as_memory_allows(numbers, rows):
    assert rows_within(numbers) == rows
