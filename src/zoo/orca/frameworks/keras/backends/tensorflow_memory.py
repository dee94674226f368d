"""How many rows a model takes at once: so many that calls cost little, so few that they fit.

A call costs about the same for one row as for a thousand. What a row needs is read off the traced
graph, so that the number, and with it the last bit of a prediction, is the same in every run.
"""

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto

#: With more rows than this a call's own cost is no longer seen.
MOST_ROWS: Final = 1 << 16
#: What Keras takes at once by itself, and so a number that fits where nothing is known.
FEWEST_ROWS: Final = 32
#: Bytes of all tensors of one call. Few of them live at the same time.
BUDGET: Final = 256 << 20
ELEMENT_BYTES: Final = 4


def rows_at_once(traced: "tf.types.experimental.ConcreteFunction | None") -> int:
    """Return how many rows to call a model with.

    Parameters
    ----------
    traced : tf.types.experimental.ConcreteFunction or None
        The model, traced for batches of any size; None: nothing is known about it.
    """
    if traced is None:
        return FEWEST_ROWS
    graph = traced.graph.as_graph_def(add_shapes=True)
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    shapes = [shape for node in nodes for shape in node.attr["_output_shapes"].list.shape]
    sizes = [_elements_of_a_row(shape) for shape in shapes]
    known = [size for size in sizes if size is not None]
    # One whose shape only the rows will show is taken to be as large as any other.
    elements = sum(known) + (len(sizes) - len(known)) * max(known, default=0)
    if not elements:
        return FEWEST_ROWS
    return max(FEWEST_ROWS, min(MOST_ROWS, BUDGET // (elements * ELEMENT_BYTES)))


def _elements_of_a_row(shape: "TensorShapeProto") -> int | None:
    """Return a tensor's numbers for each row: 0 if it has no axis of rows, None if not known."""
    if shape.unknown_rank:
        return None
    lengths = [dim.size for dim in shape.dim]
    if lengths[:1] != [-1]:
        return None if -1 in lengths else 0
    return None if -1 in lengths[1:] else math.prod(lengths[1:])
