"""JAX's process-wide settings."""

from typing import Any

import jax

from zoo.orca.frameworks.settings.fresh import Fresh


def _set_config(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if jax.config.values[name] != value:
            jax.config.update(name, value)


SETTINGS = Fresh([(lambda: dict(jax.config.values), _set_config)])
