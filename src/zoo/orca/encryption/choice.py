"""Whether the connections of a session's jobs are encrypted: a rule over its settings."""

import importlib.util
import sys
from collections.abc import Callable
from typing import Final

from zoo.orca.errors import InvalidInputError, MissingPackageError

_KEY: Final = "spark.orca.encryption"
#: Spark's own settings that encrypt what its processes send each other.
_SPARK_KEYS: Final = ("spark.network.crypto.enabled", "spark.ssl.enabled", "spark.ssl.rpc.enabled")


def asks_for_encryption(get: Callable[[str], str]) -> str:
    """Return the setting that asks for encryption; an empty string if none does.

    Orca's own setting counts first. Without it, connections are encrypted where the cluster's are.

    Parameters
    ----------
    get : callable
        Returns the text of a setting; an empty string if it is not set.

    Raises
    ------
    InvalidInputError
        If Orca's setting is neither true nor false.
    """
    if given := get(_KEY):
        said = given.strip().lower()
        if said not in ("true", "false"):
            raise InvalidInputError(
                f"{_KEY}={given!r} is neither true nor false\nWrite one of these"
            )
        return _KEY if said == "true" else ""
    return next((key for key in _SPARK_KEYS if get(key).strip().lower() == "true"), "")


def check_encryption(get: Callable[[str], str]) -> bool:
    """Return whether connections are encrypted, once it is sure that they can be.

    Parameters
    ----------
    get : callable
        As in :func:`asks_for_encryption`.

    Raises
    ------
    InvalidInputError
        As :func:`asks_for_encryption`.
    MissingPackageError
        If the package that makes certificates is not installed here.
    """
    key = asks_for_encryption(get)
    if key and importlib.util.find_spec("cryptography") is None:
        raise MissingPackageError(
            f"{key}=true encrypts the workers' connections, which takes the package "
            "'cryptography', and it is not installed here\n"
            f"Install it: {sys.executable} -m pip install 'zoo-orca[encryption]'; or set "
            f"{_KEY}=false"
        )
    return bool(key)
