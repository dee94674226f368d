"""Columns that a user wants padded: checked against the DataFrame's types, as specs of a job."""

from collections.abc import Sequence
from dataclasses import replace

from zoo.orca.errors import ColumnError, InvalidInputError
from zoo.orca.refusals import noted
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.padding import PaddedColumn


def padded_spec(spec: ColumnSpec, wanted: PaddedColumn, argument: str) -> ColumnSpec:
    """Return the spec of a column with the padding that the user wants.

    Raises
    ------
    ColumnError
        If the column holds no arrays, or does not fit what is wanted.
    """
    if not spec.shape:
        raise ColumnError(
            f"{argument}: column {spec.name!r} holds one value a row, so there is nothing to pad\n"
            f"Name it without column(...): {spec.name!r}"
        )
    try:
        return replace(
            spec, shape=wanted.lengths(len(spec.shape)), padding=wanted.padding(spec.dtype)
        )
    except InvalidInputError as error:
        raise ColumnError(f"{argument}: {error}") from error


def with_masks(
    features: Sequence[ColumnSpec], keys: Sequence[str] | None, masks: Sequence[str | None]
) -> tuple[tuple[ColumnSpec, ...], tuple[str, ...] | None]:
    """Return features and their names with each mask after its column; a mask is its own name."""
    specs: list[ColumnSpec] = []
    names: list[str] = []
    for place, (column, mask) in enumerate(zip(features, masks, strict=True)):
        specs.append(column)
        names.append(keys[place] if keys is not None else "")
        if mask:
            specs.append(
                ColumnSpec(name=mask, dtype="bool", shape=column.shape, mask_of=column.name)
            )
            names.append(mask)
    return tuple(specs), tuple(names) if keys is not None else None


@noted()
def check_names(spec: FeatureSpec) -> None:
    """Refuse a mask with the name of another input, and a column that is padded in two ways.

    Raises
    ------
    ColumnError
        Names the column, or the mask.
    """
    taken = {column.name for column in spec.columns}
    for mask in spec.masks:
        keys = spec.feature_keys or ()
        if mask.name in taken or keys.count(mask.name) > 1:
            raise ColumnError(
                f"column({mask.mask_of!r}): mask={mask.name!r} is the name of another input or "
                f"column\nGive the mask a name of its own: mask={mask.name + '_mask'!r}"
            )
        taken.add(mask.name)
    chosen = {column.name: column for column in spec.columns}
    for column in (*spec.features, *spec.labels):
        first = chosen.get(column.name, column)
        if (column.padding, column.shape) != (first.padding, first.shape):
            raise ColumnError(
                f"column {column.name!r} is named twice, and padded in one way only once\n"
                "Pad it in the same way everywhere, or make it two: "
                f"df = df.withColumn('{column.name}_2', {column.name!r})"
            )


def with_lengths(spec: FeatureSpec, seen: FeatureSpec | None) -> FeatureSpec:
    """Return the spec with the lengths of padded columns that the model has seen.

    A model may have been built for them, and what it predicts must not depend on which other rows
    there are.
    """
    known = {} if seen is None else {c.name: c for c in (*seen.features, *seen.labels)}

    def filled(column: ColumnSpec) -> ColumnSpec:
        before = known.get(column.mask_of or column.name)
        if before is None or before.padding is None or len(before.shape) != len(column.shape):
            return column
        if column.padding is None and not column.mask_of:
            return column
        pairs = zip(column.shape, before.shape, strict=True)
        return replace(column, shape=tuple(old if now is None else now for now, old in pairs))

    return replace(
        spec,
        features=tuple(map(filled, spec.features)),
        labels=tuple(map(filled, spec.labels)),
    )


def check_lengths(spec: FeatureSpec) -> None:
    """Refuse padded columns of unknown length; a lazy prediction looks at no other row.

    Raises
    ------
    ColumnError
        Names the column.
    """
    for column in spec.features:
        if column.padding is not None and None in column.shape:
            deep = len(column.shape) > 1
            raise ColumnError(
                f"nothing tells predict to which length column {column.name!r} is padded\n"
                f"Give it: column({column.name!r}, length={(50, 20) if deep else 50}, ...), or fit "
                "or load first"
            )
