"""What `fit(profile=True)` prints: phases of a job and parts of a step, one column per worker."""

from collections.abc import Sequence

from zoo.orca.wire.messages.results import Timings


def describe(timings: Sequence[Timings]) -> str:
    """Return the workers' timings as two tables of text.

    Parameters
    ----------
    timings : sequence of Timings
        By rank.
    """
    workers = [f"worker {rank}" for rank in range(len(timings))]
    phases = list(dict.fromkeys(name for one in timings for name in one.phases))
    lines = _table(
        ["seconds", *workers],
        [[name, *(f"{one.phases.get(name, 0.0):.2f}" for one in timings)] for name in phases],
    )
    parts = list(dict.fromkeys(name for one in timings for name in one.parts))
    steps = [max(one.steps, 1) for one in timings]
    rows = [
        [
            name,
            *(f"{1000 * one.parts[name] / n:.3f}" for one, n in zip(timings, steps, strict=True)),
        ]
        for name in parts
    ]
    totals = [
        f"{1000 * sum(one.parts.values()) / n:.3f}" for one, n in zip(timings, steps, strict=True)
    ]
    lines += ["", *_table(["ms of a training step", *workers], [*rows, ["all", *totals]])]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    return [
        "  ".join(
            text.ljust(width) if k == 0 else text.rjust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
