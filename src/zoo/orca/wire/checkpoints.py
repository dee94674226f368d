"""Checkpoints of a `fit`: what they hold, and their names, which sort by how far it is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from zoo.orca.errors import StateError
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.schema import check_state, damaged
from zoo.orca.wire.saved.values import Unsound, listed, mapping, real, whole

_SUFFIX = ".state"
#: Keys of the header beside what every state has; and the tensors with what ranks have added up.
_HISTORY, _STEPS, _SUMS = "history", "epoch_steps", "epoch_sums"
_EPOCHS = "epochs"
#: The model's outputs, which only the checkpoint of a training that has ended has.
_OUTPUTS = "outputs"
#: The tensor with what callbacks have counted.
_COUNTED = "counted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a training goes on from.

    Parameters
    ----------
    state : State
    history : dict of str to list of float
        The logs of the epochs that have ended.
    epochs : list of dict of str to float
        The same, epoch by epoch.
    outputs : tuple of OutputSpec or None
        Of a training that has ended after the last of these epochs, before it had trained all: the
        model's outputs. `state` is then what the training results in. None while it goes on.
    counted : State or None
        What callbacks have counted, for the plug-in to read.
    steps : int
        The steps of the epoch that is under way.
    sums : tuple of State
        What each rank has added up in that epoch.
    """

    state: State
    history: dict[str, list[float]]
    steps: int = 0
    sums: tuple[State, ...] = ()
    epochs: list[dict[str, float]] = field(default_factory=list)
    outputs: tuple[OutputSpec, ...] | None = None
    counted: State | None = None

    def to_bytes(self) -> bytes:
        """Return the bytes of a file."""
        sums = {
            f"{_SUMS}/{rank}": np.frombuffer(one.to_bytes(), np.uint8)
            for rank, one in enumerate(self.sums)
        }
        if self.counted is not None:
            sums[_COUNTED] = np.frombuffer(self.counted.to_bytes(), np.uint8)
        own = {_HISTORY: self.history, _STEPS: self.steps, _EPOCHS: self.epochs}
        meta = {**self.state.meta, **own}
        if self.outputs is not None:
            meta[_OUTPUTS] = [one.to_json() for one in self.outputs]
        return State({**self.state.tensors, **sums}, meta).to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> "Checkpoint":
        """Read what `to_bytes` returned, and check it as a whole.

        Raises
        ------
        StateError
            If it is damaged; names the file.
        """
        try:
            found = State.from_bytes(data)
            steps = found.meta.pop(_STEPS, 0)
            whole()(steps)
            epochs = found.meta.pop(_EPOCHS, None)
            names = [name for name in found.tensors if name.startswith(f"{_SUMS}/")]
            sums = [State.from_bytes(found.tensors.pop(name).tobytes()) for name in names]
            counted = None
            if _COUNTED in found.tensors:
                counted = State.from_bytes(found.tensors.pop(_COUNTED).tobytes())
            check_state(found)
            if _HISTORY not in found.meta:
                raise Unsound(f"has no {_HISTORY}")
            if epochs is not None:
                listed(mapping(real))(epochs)
        except (StateError, Unsound) as error:
            raise damaged(path, error) from error
        history, outputs = found.meta.pop(_HISTORY), found.meta.pop(_OUTPUTS, None)
        if epochs is None:  # earlier releases did not write them
            epochs = by_epoch(history)
        return cls(
            state=found,
            history=history,
            steps=steps,
            sums=tuple(sums),
            epochs=epochs,
            counted=counted,
            outputs=None if outputs is None else tuple(map(OutputSpec.from_json, outputs)),
        )


def by_epoch(history: Mapping[str, list[float]]) -> list[dict[str, float]]:
    """Return a history epoch by epoch, without what not every epoch has."""
    count = max(map(len, history.values()), default=0)
    whole = {name: values for name, values in history.items() if len(values) == count}
    return [{name: values[k] for name, values in whole.items()} for k in range(count)]


def checkpoint_name(epoch: int, steps: int) -> str:
    """Return the name of a checkpoint after some epochs, and some steps of the next one."""
    return f"{epoch:08d}-{steps:010d}{_SUFFIX}"


def epochs_of(name: str) -> int:
    """Return the epochs that are done in a checkpoint of this name."""
    return int(name.partition("-")[0])


def checkpoints_in(names: Iterable[str]) -> list[str]:
    """Return those names of files that are checkpoints', the newest last."""
    return sorted(name for name in names if _is_checkpoint(name))


def _is_checkpoint(name: str) -> bool:
    stem = name.removesuffix(_SUFFIX)
    return stem != name and stem.replace("-", "").isdecimal()
