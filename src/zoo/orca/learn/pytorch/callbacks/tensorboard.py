"""Callbacks under one of Orca's import paths: the one that writes for TensorBoard."""

from zoo.orca.learn.pytorch import callbacks

TensorBoardCallback = callbacks.TensorBoardCallback

__all__ = ["TensorBoardCallback"]
