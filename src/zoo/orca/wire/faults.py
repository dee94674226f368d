"""What the workers found in their rows, and the same conclusion for all ranks.

Every worker reports *findings*: rows with nulls, and how many rows have arrays of which length. It
reports lengths even if all are equal: they must agree over the whole job, and only all ranks
together can tell. `agree` is a pure function of all reports, so every rank gets the same shapes or
the same error.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from zoo.orca.wire.features import ColumnSpec, FeatureSpec, quoted
from zoo.orca.wire.messages.rows import Finding, Spooled
from zoo.orca.wire.padding import USUAL

#: Said by the driver, or by a worker that builds a model.
NO_ROW_TO_TRANSFORM = (
    "batch_transform makes the model's inputs, and there is no row to make them of\n"
    "Pass rows, or fit or load first"
)

Shapes = dict[str, tuple[int | None, ...]]

#: The kinds of findings about nulls.
NULLS = ("null", "null inside")
#: The kind of a finding about a padded column: no array at its level is longer.
LONGEST = "longest"

#: Stands for all lengths beyond those that a worker counts one by one.
OTHER_LENGTHS = -1

#: The driver or all workers report this, whichever finds out first.
NO_ROWS = (
    "the DataFrame has no rows: there is nothing to work on\n"
    "Look at its filters and joins: df.count() is 0"
)


def agree(spec: FeatureSpec, reports: Sequence[Spooled]) -> tuple[Shapes, str]:
    """Return the shapes of the job's array columns, or what is wrong with the rows.

    Parameters
    ----------
    spec : FeatureSpec
    reports : sequence of Spooled
        The report of each rank, by rank.

    Returns
    -------
    shapes : dict of str to tuple
        The shapes of array columns, by name. A length stays None if no worker has a row.
    problem : str
        A message for the user, or an empty string.
    """
    findings = merge(found for report in reports for found in report.findings)
    rows = {
        "train": sum(report.train.rows for report in reports),
        "validation": sum(one.validation.rows for one in reports if one.validation is not None),
    }
    problems = []
    shapes: Shapes = {}
    for column in spec.columns:
        mine = [finding for finding in findings if finding.column == column.name]
        problems += [null_message(f, rows[f.data], column) for f in mine if f.kind in NULLS]
        if column.padding is not None:
            shapes[column.name] = _padded_shape(column, mine, any(rows.values()))
            continue
        shape: list[int | None] = []
        for level in range(len(column.shape)):
            seen = [f for f in mine if f.kind == "length" and f.level == level]
            if len({finding.length for finding in seen}) > 1:
                problems.append(ragged_message(seen, column))
            # There are rows but no list at this level: the level above is empty, so is this one.
            shape.append(seen[0].length if seen else 0 if any(rows.values()) else None)
        if shape:
            shapes[column.name] = tuple(shape)
    return shapes, "\n".join(problems)


def _padded_shape(
    column: ColumnSpec, findings: Sequence[Finding], has_rows: bool
) -> tuple[int | None, ...]:
    """Return the lengths that were asked for, else those of the longest arrays of all rows."""
    shape = []
    for level, asked in enumerate(column.shape):
        seen = [f.length for f in findings if f.kind == LONGEST and f.level == level]
        # Where all arrays are empty, each has one place all the same: no layer takes an input
        # without any.
        longest = max([1, *seen]) if has_rows else None
        shape.append(longest if asked is None else asked)
    return tuple(shape)


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """Merge the findings of several workers: add the rows, keep the first example."""
    merged: dict[tuple[Any, ...], Finding] = {}
    for finding in findings:
        key = (finding.column, finding.data, finding.kind, finding.level, finding.length)
        known = merged.get(key)
        merged[key] = replace(known, rows=known.rows + finding.rows) if known else finding
    return list(merged.values())


def null_message(finding: Finding, rows: int, column: ColumnSpec) -> str:
    """Say how many of `rows` rows hold nulls and how to remove them."""
    data, refs = _FRAMES[finding.data], [quoted(name) for name in column.sources]
    subject, found = f"column {column.name!r}", "holds nulls"
    way = f"df.na.drop(subset={refs!r})"
    if column.parts:
        subject, found = f"the columns {', '.join(map(repr, column.parts))}", "hold nulls"
        if column.arrays:
            found = "hold nulls, or arrays with nulls inside"
            inside = " and ".join(f"not {_has_null(quoted(name), 1)}" for name in column.arrays)
            way += f".where({inside!r})"
    elif finding.kind == "null inside":
        found = "holds arrays with nulls inside"
        way = f"df.where({f'not {_has_null(refs[0], len(column.shape))}'!r})"
    return (
        f"{subject}{data} {found}: {_share(finding.rows, rows)}, for example {finding.example}\n"
        f"Drop these rows with {way}, or fill them{_way_to_fill(finding, column)}"
    )


def _way_to_fill(finding: Finding, column: ColumnSpec) -> str:
    """Return the call that fills nulls; empty if Spark has no single one."""
    if column.parts or column.binary:
        return ""
    name, value = quoted(column.name), USUAL[column.dtype]
    if finding.kind == "null inside":
        if len(column.shape) != 1:
            return ""
        return f": F.transform({name!r}, lambda x: F.coalesce(x, F.lit({value})))"
    if column.shape:
        return f": F.coalesce({name!r}, F.array())" if column.padding else ""
    filled = f": df.fillna({value}, subset={[name]!r})"
    if column.dtype in ("bool", "string") or name != column.name:
        return filled
    return f"{filled}, or with the mean, by pyspark.ml.feature.Imputer(inputCol={name!r}, ...)"


def _has_null(value: str, depth: int) -> str:
    """Return the SQL that says whether arrays nested `depth` deep have a null at any level.

    Spark answers null, not true, if it asks inside a null. So each level is asked first.
    """
    name = "x" if depth == 1 else f"x{depth}"
    inner = f"{name} is null"
    if depth > 1:
        inner += f" or {_has_null(name, depth - 1)}"
    return f"exists({value}, {name} -> {inner})"


def ragged_message(lengths: Sequence[Finding], column: ColumnSpec) -> str:
    """Say which lengths the arrays of one column have, the most frequent first."""
    rows: defaultdict[int, int] = defaultdict(int)
    for finding in lengths:
        rows[finding.length] += finding.rows
    known = sorted((key for key in rows if key != OTHER_LENGTHS), key=lambda key: -rows[key])
    told = [f"{length} ({_rows(rows[length])})" for length in known[:4]]
    others = sum(count for length, count in rows.items() if length not in known[:4])
    if others:
        told.append(f"others ({_rows(others)})")
    odd = min(lengths, key=lambda finding: rows[finding.length])
    nested = f" at nesting level {odd.level + 1}" if odd.level else ""
    sets = {finding.data for finding in lengths}
    data = _FRAMES[sets.pop()] if len(sets) == 1 else ", training and validation rows together,"
    return (
        f"column {odd.column!r}{data} holds arrays of different lengths{nested}: "
        f"{', '.join(told[:-1])} and {told[-1]}, for example {odd.example}\n"
        f"{_way_to_one_length(column)}"
    )


def _way_to_one_length(column: ColumnSpec) -> str:
    if column.parts:
        return "All rows must have one length: pad or cut them, or drop those that differ"
    return (
        f"Pad them: from zoo.orca.data import column, and column({column.name!r}, "
        f"pad={USUAL[column.dtype]}) in place of {column.name!r}; length= limits them"
    )


_FRAMES = {"train": "", "validation": " of validation_data"}


def _share(some: int, rows: int) -> str:
    return f"{some:,} of {_rows(rows)}"


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
