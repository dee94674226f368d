"""Optimizers and losses of PyTorch by name, made where the model is.

Each is a function within a function: such a one travels by what it is, so that workers need not
import this module, and pyspark with it.
"""

from collections.abc import Callable, Mapping
from typing import Any


def named_optimizer(name: str, rate: float) -> Callable[[Any, Mapping[str, Any]], Any]:
    """Return what makes an optimizer of ``torch.optim`` with ``config["lr"]``, or else `rate`."""

    def optimizer(model: Any, config: Mapping[str, Any]) -> Any:
        import torch

        return getattr(torch.optim, name)(model.parameters(), lr=config.get("lr", rate))

    return optimizer


def named_loss(name: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return what makes a loss of ``torch.nn``."""

    def loss(config: Mapping[str, Any]) -> Any:
        import torch

        return getattr(torch.nn, name)()

    return loss
