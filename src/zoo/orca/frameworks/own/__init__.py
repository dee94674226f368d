"""The plug-in for a loop of the user's own: the rows and the workers, and any framework.

::

    plugin              the entry points for the child
    worker              what the user's function gets
    rows                this rank's rows, in the steps of `fit`
    datasets            the same rows as PyTorch's and TensorFlow's datasets
    trees               nests of numbers and arrays, summed over all ranks
    plain               numbers and arrays of any framework as Python's and numpy's
"""
