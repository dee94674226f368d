"""The argument `batch_transform` of all estimators, checked and packed."""

from collections.abc import Callable
from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import check_creator
from zoo.orca.wire.packing import pack

#: ``batch_transform(columns, training)``, or with a third argument, a random generator.
BatchTransform = Callable[..., Any]

_BATCH = ("columns", "training")


def packed_transform(transform: Any) -> bytes | None:
    """Return the function as it travels to the workers; None if there is none.

    Raises
    ------
    InvalidInputError
        If it cannot be called with a batch.
    CreatorError
        If it cannot be sent to the workers.
    """
    if transform is None:
        return None
    try:
        check_creator("batch_transform", transform, "the columns", *_BATCH)
    except InvalidInputError as error:
        try:
            check_creator("batch_transform", transform, "the columns", *_BATCH, "random")
        except InvalidInputError:
            raise error from None
    return pack(transform, "batch_transform")
