"""Models and recipes of the tests for PyTorch; importing it imports PyTorch."""

import torch
from torch import nn

from zoo.orca.learn.pytorch.recipe import recipe


class Embedded(nn.Module):
    """Numbers and an embedding, one output."""

    def __init__(self, sparse=False, vocabulary=500):
        super().__init__()
        self.table = nn.Embedding(vocabulary, 3, sparse=sparse)
        self.hidden = nn.Linear(4, 8)
        self.out = nn.Linear(11, 1)

    def forward(self, x, u):
        both = torch.cat([torch.relu(self.hidden(x)), self.table(u)], dim=1)
        return self.out(both).squeeze(-1)


class Normalised(nn.Module):
    """With batch normalisation."""

    def __init__(self, **arguments):
        super().__init__()
        self.norm = nn.BatchNorm1d(4, momentum=0.5, **arguments)
        self.hidden = nn.Linear(4, 6)
        self.norm2 = nn.BatchNorm1d(6)
        self.out = nn.Linear(6, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.norm2(self.hidden(self.norm(x))))).squeeze(-1)


class Classifier(nn.Module):
    """Three classes."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))

    def forward(self, x):
        return self.layers(x)


def of(model, *, lr=0.05, kind="SGD", arguments=None, loss=nn.MSELoss, **parts):
    """A recipe; `model` is called without arguments."""

    def optimizer(made, config):
        return getattr(torch.optim, kind)(made.parameters(), lr=lr, **(arguments or {}))

    return recipe(model=lambda config: model(), optimizer=optimizer, loss=loss, **parts)
