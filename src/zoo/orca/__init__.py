"""Deep learning straight on Spark DataFrames.

Importing this package imports neither Spark nor a framework.
"""

from zoo.orca.context.context import OrcaContext, init_orca_context, stop_orca_context
from zoo.orca.gone.finder import tell_of_gone_modules

tell_of_gone_modules()

__all__ = ["OrcaContext", "init_orca_context", "stop_orca_context"]
