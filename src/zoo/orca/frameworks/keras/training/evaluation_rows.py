"""How many rows an evaluation takes at once, if its results cannot depend on it.

A training batch is small for an evaluation, which then spends its time between steps. Sums over
rows do not depend on the batches. But a user's own metric may be a mean of batches, and a user's
own layer may use a whole batch. Then the user's batch size stays.
"""

from dataclasses import replace

import numpy as np

from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.worker.plugin import Data, Rows

_MOST_ROWS = 8192
#: Bytes of the inputs. The layers' outputs are larger, and unknown.
_MOST_BYTES = 256 << 10


def with_large_batches(made: KerasModel, rows: Data) -> Data:
    """Return rows with a plan of larger batches; the same on all ranks.

    Parameters
    ----------
    made : KerasModel
    rows : Rows or Created
        The rows for one exact pass, without callbacks that use batches.
    """
    # Rows of shards are dealt for one batch size, and a loader's batches are the user's.
    if not isinstance(rows, Rows) or not isinstance(rows.plan, PlacedPlan):
        return rows
    if not made.keras.is_rowwise(made.model):
        return rows
    fitting = min(_MOST_BYTES // max(_row_bytes(rows), 1), _MOST_ROWS) * len(rows.plan.counts)
    if fitting <= rows.plan.batch_size:
        return rows
    return replace(rows, plan=replace(rows.plan, batch_size=fitting))


def _row_bytes(rows: Rows) -> int:
    """Return a row's bytes from the specification, which all ranks have; strings are estimated."""
    total = 0
    for column in rows.spec.features:
        item = 64 if column.dtype == "string" else np.dtype(column.dtype).itemsize
        total += item * int(np.prod([length or 0 for length in column.shape], dtype=np.int64))
    return total
