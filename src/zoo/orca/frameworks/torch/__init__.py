"""The plug-in for PyTorch.

::

    plugin              what the child calls
    models              what the user's creators make
    device, nccl        which device; sums between GPUs
    feed, row_shapes    rows as tensors, step by step; what one row of an output is
    exchange            gradients: one sum over all workers an update
    statistics          batch normalisation on several workers
    prediction          predictions, call by call
    call_errors         why a model cannot be called with its columns
    training/           one `fit` or `evaluate` on one of several workers
    metrics/            the user's metrics and Orca's own, from their states
    saving/             a model's state as named tensors and JSON, PyTorch's own files
"""
