"""Callbacks for `zoo.orca.learn.pytorch`, under Orca's names."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.orca.frameworks.torch.training.callbacks import (
        Callback,
        MainCallback,
        MaxstepsCallback,
        ModelCheckpoint,
        TensorBoardCallback,
        TqdmCallback,
    )

__all__ = [
    "Callback",
    "MainCallback",
    "MaxstepsCallback",
    "ModelCheckpoint",
    "TensorBoardCallback",
    "TqdmCallback",
]


def __getattr__(name: str) -> Any:
    """Return a class from a module that workers import without any driver code."""
    if name in __all__:
        from zoo.orca.frameworks.torch.training import callbacks as torch_callbacks

        return getattr(torch_callbacks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
