"""What trains on DataFrames: estimators, in modules of their own, and loops of the user's own."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.orca.learn.distributor import Distributor

__all__ = ["Distributor"]


def __getattr__(name: str) -> Any:
    """Return `Distributor` where it is asked for: workers import modules of this package, too."""
    if name == "Distributor":
        from zoo.orca.learn.distributor import Distributor

        return Distributor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
