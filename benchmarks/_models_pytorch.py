"""The benchmarks' models in PyTorch, with what each is trained with.

The optimizers are PyTorch's fused ones where there is one: what a user who looks for speed finds,
and the same for every contestant.
"""

from collections.abc import Callable
from typing import Any

import torch
from models_pytorch import ncf
from torch import nn

Config = dict[str, Any]

__all__ = ["LOSSES", "OPTIMIZERS", "dense", "embedding", "ncf", "wide"]


class Flat(nn.Module):
    """A model whose output is (batch,), as its labels are."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one number a row."""
        output: torch.Tensor = self.inner(x)
        return output.squeeze(-1)


class MeanOfTable(nn.Module):
    """A linear model of the mean of embeddings in a large table."""

    def __init__(self) -> None:
        super().__init__()
        # Its gradients are rows, and only those are updated.
        self.table = nn.EmbeddingBag(1_000_000, 64, mode="mean", sparse=True)
        nn.init.uniform_(self.table.weight, -0.05, 0.05)
        self.output = nn.Linear(64, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return one number a row."""
        output: torch.Tensor = self.output(self.table(ids)).squeeze(-1)
        return output


def dense(config: Config) -> nn.Module:
    """Return a small perceptron."""
    layers = [nn.Linear(100, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 1)]
    return Flat(nn.Sequential(*layers))


def embedding(config: Config) -> nn.Module:
    """Return a linear model of the mean of embeddings in a large table."""
    return MeanOfTable()


def wide(config: Config) -> nn.Module:
    """Return four layers of ``config["width"]`` squared numbers each."""
    width = config["width"]
    layers = [layer for _ in range(4) for layer in (nn.Linear(width, width), nn.ReLU())]
    return Flat(nn.Sequential(*layers, nn.Linear(width, 1)))


def adam(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Return Adam with all of its update in one operation."""
    return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)


def sgd(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Return plain gradient descent, whose update costs next to nothing."""
    return torch.optim.SGD(model.parameters(), lr=1e-3, fused=True)


def adagrad(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Return Adagrad, whose update touches only the rows that a step saw."""
    return torch.optim.Adagrad(model.parameters(), lr=1e-3)


OPTIMIZERS: dict[str, Callable[[nn.Module, Config], torch.optim.Optimizer]] = {
    "ncf": adam,
    "dense": adam,
    "embedding": adagrad,
    "wide": sgd,
}
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "ncf": nn.CrossEntropyLoss,
    "dense": nn.MSELoss,
    "embedding": nn.MSELoss,
    "wide": nn.MSELoss,
}
