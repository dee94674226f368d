"""How many rows a model takes at once, from its layers.

On TensorFlow `zoo.orca.frameworks.keras.backends.tensorflow_memory` reads the graph instead.
"""

from math import prod

from zoo.orca.frameworks.common.row_budget import FEWEST_ROWS, rows_within
from zoo.orca.frameworks.keras.models import KerasModel


def rows_by_layers(made: KerasModel) -> int:
    """Return how many rows to call a model with; few if it is not made of symbolic layers."""
    if not made.is_static:
        return FEWEST_ROWS
    elements = 0
    for layer in made.model._flatten_layers():
        # A layer that is called in several places has as many outputs.
        for node in getattr(layer, "_inbound_nodes", ()):
            for output in node.output_tensors:
                if None in output.shape[1:]:
                    return FEWEST_ROWS
                elements += prod(output.shape[1:])
    # A power of two, because JAX compiles a model for those sizes.
    return 1 << (rows_within(elements).bit_length() - 1)
