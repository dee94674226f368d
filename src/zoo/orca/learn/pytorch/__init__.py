"""PyTorch under Orca's original import path; the driver needs no PyTorch to train a model."""
