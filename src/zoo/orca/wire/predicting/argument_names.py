"""The arguments of a column function, as driver and workers know them."""

from collections.abc import Sequence

from zoo.orca.wire.features import FeatureSpec


def argument_names(columns: FeatureSpec) -> list[str]:
    """Return the columns that are the function's arguments: each once, in the order of features."""
    return list({name: None for column in columns.columns for name in column.sources})


def wrong_count(names: Sequence[str], given: int) -> str:
    """Say that a function got another number of columns than the model has."""
    return (
        f"the function got {given} {'column' if given == 1 else 'columns'}, and the model has "
        f"{len(names)}: {', '.join(names)}\nPass these in this order, or others in their place"
    )
