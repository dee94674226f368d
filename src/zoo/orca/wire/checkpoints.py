"""The names of checkpoints: they sort by how far the training is."""

from collections.abc import Iterable

_SUFFIX = ".state"


def checkpoint_name(epoch: int, steps: int) -> str:
    """Return the name of a checkpoint after some epochs, and some steps of the next one."""
    return f"{epoch:08d}-{steps:010d}{_SUFFIX}"


def checkpoints_in(names: Iterable[str]) -> list[str]:
    """Return those names of files that are checkpoints', the newest last."""
    return sorted(name for name in names if _is_checkpoint(name))


def _is_checkpoint(name: str) -> bool:
    stem = name.removesuffix(_SUFFIX)
    return stem != name and stem.replace("-", "").isdecimal()
