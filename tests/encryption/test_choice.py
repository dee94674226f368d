"""When connections are encrypted."""

from typing import Any

import pytest

from zoo.orca.encryption.choice import asks_for_encryption
from zoo.orca.errors import InvalidInputError

ORCA = "spark.orca.encryption"
CRYPTO, SSL = "spark.network.crypto.enabled", "spark.ssl.enabled"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ""),
        ({ORCA: "true"}, ORCA),
        ({ORCA: " TRUE "}, ORCA),
        ({ORCA: "false"}, ""),
        ({CRYPTO: "true"}, CRYPTO),
        ({SSL: "True"}, SSL),
        ({"spark.ssl.rpc.enabled": "true"}, "spark.ssl.rpc.enabled"),
        ({CRYPTO: "false", SSL: "false"}, ""),
        ({CRYPTO: "false", SSL: "true"}, SSL),
        # Who says it for Orca is heard.
        ({CRYPTO: "true", SSL: "true", ORCA: "false"}, ""),
        ({CRYPTO: "false", ORCA: "true"}, ORCA),
        ({"spark.ssl.ui.enabled": "true", "spark.io.encryption.enabled": "true"}, ""),
    ],
)
def test_connections_are_encrypted_where_the_clusters_are(settings: Any, expected: str) -> None:
    assert asks_for_encryption(lambda key: settings.get(key, "")) == expected


def test_what_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"spark.orca.encryption='yes' is neither true"):
        asks_for_encryption({ORCA: "yes", CRYPTO: "true"}.get)  # type: ignore[arg-type]
