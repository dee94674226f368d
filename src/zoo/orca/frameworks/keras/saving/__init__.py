"""A Keras model's state as tensors, and Keras's own files."""
