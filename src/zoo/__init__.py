"""Namespace of Orca's original import path, ``zoo.orca``."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Return `init_nncontext`, which the original has here, too."""
    if name == "init_nncontext":
        from zoo.orca.context.nncontext import init_nncontext

        return init_nncontext
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
