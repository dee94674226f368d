"""What a model's graph tells of it: how many rows it takes at once, and whether it only reads.

`zoo.orca.frameworks.keras.rows_at_once` uses layers instead.
"""

import math
from typing import TYPE_CHECKING

from zoo.orca.frameworks.common.row_budget import FEWEST_ROWS, rows_within

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto

#: Operations that TensorFlow counts among those with a state, though they only read it or call
#: others, which are looked at themselves.
_READERS = frozenset(
    {
        *("VarHandleOp", "ReadVariableOp", "VariableShape", "ResourceGather", "ResourceGatherNd"),
        *("HashTableV2", "LookupTableFindV2", "LookupTableSizeV2"),
        *("StatefulPartitionedCall", "If", "Case", "While", "Assert", "Placeholder"),
    }
)


def rows_at_once(traced: "tf.types.experimental.ConcreteFunction | None") -> int:
    """Return how many rows to call a model with.

    Parameters
    ----------
    traced : tf.types.experimental.ConcreteFunction or None
        The model, traced for batches of any size; None: its size is unknown.
    """
    if traced is None:
        return FEWEST_ROWS
    graph = traced.graph.as_graph_def(add_shapes=True)
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    shapes = [shape for node in nodes for shape in node.attr["_output_shapes"].list.shape]
    sizes = [_elements_of_a_row(shape) for shape in shapes]
    known = [size for size in sizes if size is not None]
    # A tensor of unknown shape is assumed to be as large as any other.
    elements = sum(known) + (len(sizes) - len(known)) * max(known, default=0)
    return rows_within(elements)


def only_reads(traced: "tf.types.experimental.ConcreteFunction") -> bool:
    """Whether no operation of a model changes a variable or generator, or calls Python."""
    from tensorflow.python.framework import op_def_registry

    graph = traced.graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    kinds = {node.op for node in nodes} - _READERS
    known = {kind: op_def_registry.get(kind) for kind in kinds}
    return not any(one is None or one.is_stateful for one in known.values())


def _elements_of_a_row(shape: "TensorShapeProto") -> int | None:
    """Return a tensor's numbers per row: 0 if it has no axis of rows, None if unknown."""
    if shape.unknown_rank:
        return None
    lengths = [dim.size for dim in shape.dim]
    if lengths[:1] != [-1]:
        return None if -1 in lengths else 0
    return None if -1 in lengths[1:] else math.prod(lengths[1:])
