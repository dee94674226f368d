"""A PyTorch model's state as tensors, and files of PyTorch's own."""
