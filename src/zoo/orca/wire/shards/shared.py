"""A value that all functions of a program share; it goes to the workers with them."""

import pickle
import uuid
from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.wire.packing import pack

#: What this process has unpickled, by name: a worker's tasks come one after another, and each
#: brings the bytes along. Only the newest stay.
_held: dict[str, Any] = {}
_MOST_HELD = 4


class SharedValue:
    """A read-only value for functions that run on shards, such as a table to look up.

    Each Python process of an executor unpickles it once, however many shards it works on. A
    function that refers to it takes it along, so over Spark Connect it must be smaller than a
    message may be.

    Parameters
    ----------
    data : object
        Anything that can be pickled.
    """

    def __init__(self, data: Any) -> None:
        # Many programs may share the workers of one Spark Connect server.
        self._name = uuid.uuid4().hex
        self._packed = pack(data, "data")
        self._data: tuple[Any, ...] = (data,)

    @property
    def value(self) -> Any:
        """The value."""
        if not self._data:
            raise InvalidInputError(
                "the SharedValue was let go with unpersist()\nMake a new one: SharedValue(data)"
            )
        return self._data[0]

    def unpersist(self) -> None:
        """Let the value go; functions that were sent before keep theirs."""
        self._data, self._packed = (), b""

    def __reduce__(self) -> tuple[Any, ...]:
        self.value  # noqa: B018 - a value that was let go must not travel
        return _restored, (self._name, self._packed)


def _restored(name: str, packed: bytes) -> SharedValue:
    if name not in _held:
        while len(_held) >= _MOST_HELD:
            del _held[next(iter(_held))]
        _held[name] = pickle.loads(packed)
    shared = SharedValue.__new__(SharedValue)
    shared._name, shared._packed, shared._data = name, packed, (_held[name],)
    return shared
