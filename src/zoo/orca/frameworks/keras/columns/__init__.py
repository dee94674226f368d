"""Columns as a Keras model's inputs, and as labels of its outputs."""
