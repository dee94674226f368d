"""One `fit` or `evaluate` of a Keras model on one of several workers."""
