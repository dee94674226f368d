"""The plug-in for Keras 2 and 3, on TensorFlow, JAX or torch.

::

    plugin, base_plugin   what the child calls; `zoo.orca.frameworks.tf2` has Keras 2's
    models                the creator's model
    columns/              columns as inputs and labels: shapes, names, classes, what cannot be read
    feed                  rows as arrays, step by step, on JAX and torch
    outputs, prediction   what comes out, call by call
    rows_at_once          how many rows a call takes
    training/             `Model.fit` and `Model.evaluate` on one of several workers
    saving/               a model's state as named tensors, vocabularies, Keras's own files
    versions/             what differs between Keras 2 and Keras 3
    backends/             what differs between TensorFlow, JAX and torch
    protocols, types      what these are to each other; the user's objects as far as Orca uses them
    configuration         what keras.json says
"""
