"""Data creators: functions that make the data on the workers, where a DataFrame has rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.forms.form import Columns
from zoo.orca.refusals import noted, refuse
from zoo.orca.wire.job import CreatorSpec
from zoo.orca.wire.packing import pack


@dataclass(frozen=True, kw_only=True)
class Creators:
    """The creators of a call.

    Parameters
    ----------
    data : CreatorSpec
    validation : CreatorSpec or None
    """

    data: CreatorSpec
    validation: CreatorSpec | None = None

    def fields(self, is_fit: bool) -> dict[str, CreatorSpec | None]:
        """Return the fields of a job."""
        if not is_fit:
            return {"creator": self.data}
        return {"creator": self.data, "validation_creator": self.validation}


def is_creator(data: Any) -> bool:
    """Whether data is a function that makes data; anything that can be called is."""
    return callable(data)


@noted()
def creators_of(
    data: Any,
    validation_data: Any,
    columns: Columns,
    data_config: Mapping[str, Any] | None,
) -> Creators | None:
    """Return the creators of a call, packed for the workers; None if it has none.

    Raises
    ------
    InvalidInputError
        If only one of two is a creator, one takes other arguments, or columns are named.
    CreatorError
        If one cannot be sent to the workers; names the object at fault.
    """
    if not is_creator(data) and not is_creator(validation_data):
        return None
    if not is_creator(data):
        raise InvalidInputError(
            f"validation_data is a creator, and data is {_kind(data)}\n"
            "Pass two creators, or two data sets that are none"
        )
    if validation_data is not None and not is_creator(validation_data):
        raise InvalidInputError(
            f"data is a creator, and validation_data is {_kind(validation_data)}\n"
            "Pass a creator for validation_data, too: it makes validation batches on the workers"
        )
    for name, given in zip(
        ("feature_cols", "label_cols", "sample_weight_col"), columns, strict=True
    ):
        if given:
            refuse(
                InvalidInputError(
                    f"{name}={given!r} names columns, and a creator's batches have none\n"
                    "Leave it out: the creator returns batches (x, y), or (x, y, weights)"
                )
            )
    config = pack(dict(data_config or {}), "data_config")
    validation = None
    if validation_data is not None:
        validation = _packed(validation_data, "validation_data", config)
    return Creators(data=_packed(data, "data", config), validation=validation)


def frame_for(spark: SparkSession, workers: int) -> DataFrame:
    """Return a frame without data, of one partition for each worker."""
    return spark.range(0, workers, 1, workers)


@noted()
def check_share(batch_size: int, workers: int) -> None:
    """Refuse a global batch of which some worker's creator would get nothing.

    Raises
    ------
    InvalidInputError
        Names the smallest batch.
    """
    if batch_size < workers:
        raise InvalidInputError(
            f"batch_size={batch_size} is less than one row for each of the {workers} workers, "
            f"whose creators get their shares of it\nPass batch_size={workers} or more"
        )


def _packed(creator: Callable[..., Any], argument: str, config: bytes) -> CreatorSpec:
    try:
        signature = inspect.signature(creator)
    except (TypeError, ValueError):
        signature = None
    if signature is not None:
        try:
            signature.bind({}, 1)
        except TypeError as error:
            name = getattr(creator, "__name__", type(creator).__name__)
            raise InvalidInputError(
                f"{argument} is the creator {name}{signature}, which does not take (config, "
                f"batch_size)\nDefine it as def {name}(config, batch_size): ..., or bind its other "
                "arguments with functools.partial"
            ) from error
    return CreatorSpec(creator=pack(creator, argument), config=config)


def _kind(data: Any) -> str:
    kind = type(data).__qualname__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
