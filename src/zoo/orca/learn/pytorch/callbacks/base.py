"""Callbacks under one of Orca's import paths: the bases."""

from zoo.orca.learn.pytorch import callbacks

Callback = callbacks.Callback
MainCallback = callbacks.MainCallback

__all__ = ["Callback", "MainCallback"]
