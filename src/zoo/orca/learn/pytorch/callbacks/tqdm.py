"""Callbacks under one of Orca's import paths: progress, which the driver shows."""

from zoo.orca.learn.pytorch import callbacks

TqdmCallback = callbacks.TqdmCallback

__all__ = ["TqdmCallback"]
