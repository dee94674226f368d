"""What has no type of its own, because what it is made of is the user's."""

from typing import Any, TypeAlias

#: Tensors, arrays or names in lists, tuples and dicts, nested as the user's model has them; or one.
Structure: TypeAlias = Any
