"""A PyTorch model's state as tensors, and PyTorch's own files."""
