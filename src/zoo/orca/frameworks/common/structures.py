"""Types for values whose structure the user chooses."""

from typing import Any, TypeAlias

#: A tensor, array or name, or lists, tuples and dicts of them, nested as in the user's model.
Structure: TypeAlias = Any
