"""`init_nncontext` under its original import path."""

from zoo.orca.context.nncontext import init_nncontext

__all__ = ["init_nncontext"]
