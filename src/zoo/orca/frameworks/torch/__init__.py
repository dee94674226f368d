"""The plug-in for PyTorch.

::

    plugin              the entry points for the child
    models              the results of the user's creators
    device, nccl        which device; sums between GPUs
    feed, row_shapes    rows as tensors, step by step; the shape of one row of an output
    exchange            gradients: one sum over all workers per update
    dense, overlap      those in one buffer, sent at once or while others are computed
    statistics          batch normalisation on several workers
    prediction          predictions, call by call
    call_errors         why a model cannot be called with its columns
    training/           one `fit` or `evaluate` on one of several workers
    metrics/            the user's metrics and Orca's own, from their states
    saving/             a model's state as named tensors and JSON, PyTorch's own files
"""
