"""One `fit` or `evaluate` of a PyTorch model on one of several workers."""
