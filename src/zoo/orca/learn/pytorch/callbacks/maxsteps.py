"""Callbacks under one of Orca's import paths: the one that counts steps."""

from zoo.orca.learn.pytorch import callbacks

MaxstepsCallback = callbacks.MaxstepsCallback

__all__ = ["MaxstepsCallback"]
