"""The plug-in for Keras 2 and 3, on TensorFlow, JAX or torch.

::

    plugin, base_plugin   entry points for the child; `zoo.orca.frameworks.tf2` has Keras 2's
    models                the creator's model
    columns/              columns as inputs and labels: shapes, names, classes, unreadable rows
    feed                  rows as arrays, step by step, on JAX and torch
    outputs, prediction   outputs, call by call
    rows_at_once          how many rows a call takes
    training/             `Model.fit` and `Model.evaluate` on one of several workers
    saving/               a model's state as named tensors, vocabularies, Keras's own files
    versions/             what differs between Keras 2 and Keras 3
    backends/             what differs between TensorFlow, JAX and torch
    protocols, types      interfaces between these; the members of user objects that Orca uses
    configuration         the settings in keras.json
"""
