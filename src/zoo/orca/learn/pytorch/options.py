"""The options of `fit` that only PyTorch has, checked."""

import math
from collections.abc import Mapping
from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import positive
from zoo.orca.refusals import noted, refuse
from zoo.orca.wire.packing import pack
from zoo.orca.wire.torch_options import TorchOptions

_PRECISIONS = ("fp32", "bf16")


def training_options(
    *,
    first_step: int,
    reduce_results: bool,
    info: Mapping[str, Any] | None,
    max_steps: int | None,
    gradient_accumulation: int,
    clip_grad_norm: float | None,
    precision: str,
    compile: bool,
    training_metrics: bool | None,
    insist_on_optimizer: bool,
) -> TorchOptions:
    """Return the options for the job.

    Steps are numbered over all calls of `fit`; this call starts at `first_step`. An attempt that
    resumes from a checkpoint must know how many of the call's steps are done.

    Raises
    ------
    InvalidInputError
        If a value cannot be used.
    """
    positive("gradient_accumulation", gradient_accumulation)
    _check_clip(clip_grad_norm)
    if precision not in _PRECISIONS:
        refuse(
            InvalidInputError(
                f"precision must be one of {_PRECISIONS}, got {precision!r}\n"
                "Leave it out for full precision"
            )
        )
    return TorchOptions(
        info=packed_info(info),
        reduce_results=reduce_results,
        first_step=first_step,
        last_step=None if max_steps is None else first_step + max_steps,
        gradient_accumulation=gradient_accumulation,
        clip_grad_norm=clip_grad_norm,
        bf16=precision == "bf16",
        compile=compile,
        training_metrics=training_metrics,
        insist_on_optimizer=insist_on_optimizer,
    )


@noted(bytes)
def packed_info(info: Mapping[str, Any] | None) -> bytes:
    """Return what the hooks get as bytes for the workers: it may hold objects of the user."""
    if info is not None and not isinstance(info, Mapping):
        raise InvalidInputError(
            f"info must be a dict, got a value of type {type(info).__qualname__}\n"
            "Write info={'name': value}: the operator's hooks are called with it"
        )
    return pack(dict(info), "info") if info else b""


@noted()
def _check_clip(value: Any) -> None:
    if value is not None and not (
        isinstance(value, (int, float)) and math.isfinite(value) and value > 0
    ):
        raise InvalidInputError(
            f"clip_grad_norm must be a number above 0, got {value!r}\nLeave it out for none"
        )
