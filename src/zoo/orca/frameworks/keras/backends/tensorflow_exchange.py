"""Sums gradients in TensorFlow: one call into Python for each call of an optimizer.

Each array that comes back from Python costs several microseconds, and a copy if TensorFlow cannot
use its alignment. So the sums come back as one buffer and one array of integers. TensorFlow splits
them without a copy.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.orca.frameworks.gradients.fused_sum import FusedSum
from zoo.orca.frameworks.gradients.layout import GradientSpec, unit_of


def exchanged(
    gradients: Sequence[tf.Tensor],
    variables: Sequence[tf.Variable],
    rows: tf.Tensor,
    of: tf.Tensor,
    fused: dict[tuple[GradientSpec, ...], FusedSum],
    make: Callable[[tuple[GradientSpec, ...]], FusedSum],
    timed: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> list[Any]:
    """Return the gradients of the global batch, in a graph or eagerly.

    Parameters
    ----------
    gradients, variables : sequence
        As for an optimizer's `apply_gradients`; gradients may be None.
    rows, of : tensor
        This rank's and all ranks' rows of the step.
    fused : dict
        Caches the agreed sums, by their specs.
    make : callable
        Returns a `FusedSum` for specs.
    timed : callable
        Returns a function with its time counted.
    """
    known = [k for k, gradient in enumerate(gradients) if gradient is not None]
    if not known:
        return list(gradients)
    specs = tuple(_spec(gradients[k], variables[k]) for k in known)
    if specs not in fused:
        fused[specs] = make(specs)
    inputs = []
    for spec, k in zip(specs, known, strict=True):
        gradient = gradients[k]
        inputs += [gradient.values, gradient.indices] if spec.sparse else [gradient]
    cut = _cut(fused[specs], specs, rows, of, inputs, timed)
    summed = list(gradients)
    for spec, k, (values, indices) in zip(specs, known, cut, strict=True):
        values = tf.cast(values, gradients[k].dtype)
        if spec.sparse:
            indices = tf.cast(indices, gradients[k].indices.dtype)
            shape = tf.constant(spec.shape, gradients[k].indices.dtype)
            values = tf.IndexedSlices(values, indices, shape)
        summed[k] = values
    return summed


def _cut(
    fused: FusedSum,
    specs: Sequence[GradientSpec],
    rows: tf.Tensor,
    of: tf.Tensor,
    inputs: list[tf.Tensor],
    timed: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> list[tuple[Any, Any]]:
    """Return the values, and any row numbers, of each gradient's sum."""
    dtypes = [*(tf.as_dtype(dtype) for dtype in fused.dtypes), tf.int64]
    call = timed(lambda *arrays: fused.packed(*arrays))
    *flats, integers = tf.numpy_function(call, [rows, of, *inputs], dtypes)
    integers.set_shape((None,))
    sparse = [k for k, spec in enumerate(specs) if spec.sparse]
    begin = len(specs) + len(fused.dtypes)
    totals = tf.unstack(integers[begin : begin + len(sparse)], num=len(sparse))
    numbers: dict[int, Any] = {}
    if sparse:
        after = tf.split(integers[begin + len(sparse) :], totals, num=len(sparse))
        numbers = dict(zip(sparse, after, strict=True))
    found: dict[int, Any] = {}
    begin = 0
    for dtype, flat in zip(fused.dtypes, flats, strict=True):
        pieces, unit = fused.pieces(dtype), unit_of(dtype)
        flat.set_shape((None, unit))
        # A unit is as long as TensorFlow's alignment, so parts are views.
        parts = tf.split(flat, integers[begin : begin + len(pieces)], num=len(pieces))
        begin += len(pieces)
        for k, part in zip(pieces, parts, strict=True):
            if k is not None:
                total = totals[sparse.index(k)] if specs[k].sparse else None
                found[k] = _shaped(part, specs[k], total, unit)
    return [(found[k], numbers.get(k)) for k in range(len(specs))]


def _shaped(part: tf.Tensor, spec: GradientSpec, total: tf.Tensor, unit: int) -> tf.Tensor:
    """Return a piece without its padding, in the gradient's shape."""
    count = spec.row * total if spec.sparse else prod(spec.shape)
    flat = tf.reshape(part, (-1,))
    if (spec.row if spec.sparse else prod(spec.shape)) % unit:
        flat = flat[:count]
    return tf.reshape(flat, (-1, *spec.shape[1:]) if spec.sparse and spec.row else _shape(spec))


def _shape(spec: GradientSpec) -> tuple[int, ...]:
    return (0, *spec.shape[1:]) if spec.sparse else spec.shape


def _spec(gradient: tf.Tensor, variable: tf.Variable) -> GradientSpec:
    dtype = np.dtype(tf.as_dtype(gradient.dtype).as_numpy_dtype)
    return GradientSpec(
        shape=tuple(variable.shape), dtype=dtype, sparse=isinstance(gradient, tf.IndexedSlices)
    )
