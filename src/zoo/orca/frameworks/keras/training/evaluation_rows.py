"""How many rows an evaluation takes at once, where nothing can depend on it.

A batch chosen for training is small for an evaluation, which then spends its time between steps.
Sums over rows are the same however rows are batched, but a user's own metric may be a mean of
batches, and a user's own layer may look across one: there, batches are what the user asked for.
"""

from dataclasses import replace

import numpy as np

from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.worker.plugin import Rows

_MOST_ROWS = 8192
#: Of inputs. What layers make of them is larger, and unknown.
_MOST_BYTES = 256 << 10


def with_large_batches(made: KerasModel, rows: Rows) -> Rows:
    """Return rows with a plan of larger batches; the same on all ranks.

    Parameters
    ----------
    made : KerasModel
    rows : Rows
        To be evaluated in one exact pass, with no callback that looks at batches.
    """
    if not made.keras.is_rowwise(made.model):
        return rows
    fitting = min(_MOST_BYTES // max(_row_bytes(rows), 1), _MOST_ROWS) * len(rows.plan.counts)
    if fitting <= rows.plan.batch_size:
        return rows
    return replace(rows, plan=replace(rows.plan, batch_size=fitting))


def _row_bytes(rows: Rows) -> int:
    """Return the bytes of a row by its specification, which all ranks have; strings are guessed."""
    total = 0
    for column in rows.spec.features:
        item = 64 if column.dtype == "string" else np.dtype(column.dtype).itemsize
        total += item * int(np.prod([length or 0 for length in column.shape], dtype=np.int64))
    return total
