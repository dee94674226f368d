"""Options of the whole program, as properties of the class `OrcaContext`."""

import warnings
from typing import Any

from zoo.orca.errors import InvalidInputError

#: What was set, by name; and which warnings were given.
_values: dict[str, Any] = {}
_warned: set[str] = set()


def warn_once(message: str, *, stacklevel: int = 3) -> None:
    """Warn only once of something that a program may repeat."""
    if message not in _warned:
        _warned.add(message)
        warnings.warn(message, stacklevel=stacklevel)


class _Option:
    """A class property of `OrcaContext`: checked when set, and kept."""

    def __init__(self, default: Any, *allowed: Any, doc: str) -> None:
        self.default = default
        self.allowed = allowed
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else _values.get(self.name, self.default)

    def __set__(self, instance: object, value: Any) -> None:
        # 1 == True, so the type is compared too.
        if not any(value == one and type(value) is type(one) for one in self.allowed):
            allowed = " or ".join(repr(one) for one in self.allowed)
            raise InvalidInputError(f"OrcaContext.{self.name} cannot be {value!r}\nIt is {allowed}")
        _values[self.name] = value


class _Count(_Option):
    """A class property that is a whole number, or None."""

    def __set__(self, instance: object, value: Any) -> None:
        is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if value is not None and not is_count:
            raise InvalidInputError(
                f"OrcaContext.{self.name} cannot be {value!r}\n"
                "It is a number of rows from 1, or None for all rows of a partition"
            )
        _values[self.name] = value


class _OtherName(_Option):
    """Another name of a class property."""

    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else getattr(instance, self.default)

    def __set__(self, instance: object, value: Any) -> None:
        setattr(instance, self.default, value)


class _FormerOption(_Option):
    """A class property of the original that has no meaning here."""

    def __set__(self, instance: object, value: Any) -> None:
        warn_once(f"OrcaContext.{self.name} has no effect: {self.__doc__}")
        _values[self.name] = value


class Options(type):
    """Gives `OrcaContext` properties of the class itself, as the original has them."""

    log_output = _Option(
        False, False, True, doc="Show the JVM's messages in a notebook; set it before Spark starts."
    )
    pandas_read_backend = _Option(
        "spark", "spark", "pandas", doc="What reads files into shards of pandas frames."
    )
    serialize_data_creator = _FormerOption(
        False,
        doc="each worker calls its creator in a process of its own; let the creator itself lock "
        "what two on one node must not do at once, such as a download.",
    )
    train_data_store = _FormerOption(
        "DRAM", doc="rows are mapped from a file on each worker, so memory bounds nothing."
    )
    barrier_mode = _FormerOption(
        True, doc="every training is a barrier stage; that is how workers find each other."
    )
    _eager_mode = _Option(
        False, False, True, doc="Compute an XShards as soon as it is made, and keep it."
    )
    shard_size = _Count(None, doc="Rows of one shard where rows become shards of frames.")
    _shard_size = _OtherName("shard_size", doc="`shard_size` by its name in the original.")
