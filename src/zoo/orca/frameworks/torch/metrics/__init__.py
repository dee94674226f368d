"""Metrics of PyTorch models: Orca's on torchmetrics, and the user's own."""
