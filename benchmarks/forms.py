"""Rows a second of the NCF from every form of the same rows, beside the framework alone.

python benchmarks/forms.py [--frameworks tf2 keras-jax pytorch] [--rounds N] [--rows N] [--epochs N]

The forms are a DataFrame, a pandas frame, XShards of pandas frames, and a data creator's loader: a
`tf.data` pipeline, or a torch DataLoader that shuffles. The framework alone trains on the very same
loader. It and Orca train in processes of their own on the same two processors, with one worker, and
take turns; so do the forms within Orca's. A figure is the median of all epochs but the first; rows
in memory are trained five times as many epochs as a loader's, because one is that much shorter.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _forms import ALONE, FORMS, LOADERS
from _models import save_rows
from _rates import finish, measured, options_of, rates
from _report import Goal, Run, ratio

LOADER_MUST, FRAME_MUST = 0.95, 0.95


def goals(runs: Sequence[Run], frameworks: Sequence[str]) -> list[Goal]:
    """Return the ratios that must hold."""
    found = []
    for framework in frameworks:
        pairs = [("loader", ALONE, LOADER_MUST)]
        pairs += [(form, "DataFrame", FRAME_MUST) for form in ("pandas", "XShards")]
        for form, other, must in pairs:
            pair = (rates(runs, framework, one, alone=ALONE) for one in (form, other))
            value, within = ratio(*pair)
            found.append(Goal(f"{framework}: {form} ÷ {other}", value, must, detail=within))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = options_of(__doc__ or "", list(LOADERS), 200_000).parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"{save_rows(Path(directory), 'ncf', options.rows)}.parquet"
        runs = measured("_forms.py", FORMS, file, options)
    title = "Rows a second by the form of the rows"
    reached = goals(runs, options.frameworks)
    return finish("forms", title, runs, [ALONE, *FORMS], options, reached)


if __name__ == "__main__":
    sys.exit(main())
