"""Imports the backend of a name, and no other framework."""

from zoo.orca.frameworks.keras.protocols import Backend


def backend_of(name: str) -> Backend:
    """Return the backend module for "tensorflow", "jax" or "torch"."""
    if name == "tensorflow":
        from zoo.orca.frameworks.keras.backends import on_tensorflow

        return on_tensorflow
    if name == "jax":
        from zoo.orca.frameworks.keras.backends import on_jax

        return on_jax
    if name == "torch":
        from zoo.orca.frameworks.keras.backends import on_torch

        return on_torch
    missing = f"{__package__}.on_{name}"
    raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
