"""Callbacks under one of Orca's import paths: the one that writes checkpoints."""

from zoo.orca.learn.pytorch import callbacks

ModelCheckpoint = callbacks.ModelCheckpoint

__all__ = ["ModelCheckpoint"]
