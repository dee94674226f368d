"""The examples' models in PyTorch, and their estimators."""

from typing import Any

import torch
from torch import nn

Config = dict[str, Any]


class NCF(nn.Module):
    """The model of ratings: matrix factorization beside a small perceptron.

    Parameters
    ----------
    users, items : int
        Numbers of users and items, which are counted from 0.
    size : int
        Numbers by which each is described, in either part.
    """

    def __init__(self, users: int, items: int, size: int = 16) -> None:
        super().__init__()
        self.user_factors, self.item_factors = nn.Embedding(users, size), nn.Embedding(items, size)
        self.user_mlp, self.item_mlp = nn.Embedding(users, size), nn.Embedding(items, size)
        for table in (self.user_factors, self.item_factors, self.user_mlp, self.item_mlp):
            nn.init.uniform_(table.weight, -0.05, 0.05)  # Keras's own; PyTorch's is far wider
        widths = [2 * size, 2 * size, size, size // 2]
        self.mlp = nn.Sequential(
            *(
                layer
                for width, units in zip(widths, widths[1:], strict=False)
                for layer in (nn.Linear(width, units), nn.ReLU(), nn.Dropout(0.2))
            )
        )
        self.output = nn.Linear(size + size // 2, 5)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """Return a score for each of five ratings, (batch, 5)."""
        factors = self.user_factors(user) * self.item_factors(item)
        mlp = self.mlp(torch.cat([self.user_mlp(user), self.item_mlp(item)], dim=-1))
        scores: torch.Tensor = self.output(torch.cat([factors, mlp], dim=-1))
        return scores


class Tabular(nn.Module):
    """The model of machines that fail: a perceptron over all three columns."""

    def __init__(self, readings: int, profile: int, sites: int) -> None:
        super().__init__()
        self.place = nn.Embedding(sites, 4)
        self.layers = nn.Sequential(
            *(nn.Linear(readings + profile + 4, 32), nn.ReLU()),
            *(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid()),
        )

    def forward(
        self, readings: torch.Tensor, profile: torch.Tensor, site: torch.Tensor
    ) -> torch.Tensor:
        """Return the probability of a failure, (batch,) as the labels are."""
        columns = torch.cat([readings, profile, self.place(site)], dim=-1)
        probability: torch.Tensor = self.layers(columns).squeeze(-1)
        return probability


def ncf(config: Config) -> NCF:
    """Return the model of ratings."""
    return NCF(config["max_user_id"] + 1, config["max_item_id"] + 1)


def tabular(config: Config) -> Tabular:
    """Return the model of machines that fail."""
    return Tabular(config["readings"], config["profile"], config["sites"])


def adam(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Return the optimizer."""
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def ncf_estimator(config: Config, workers: int | None, seed: int) -> Any:
    """Return an estimator of ratings."""
    from zoo.orca.learn.metrics import Accuracy
    from zoo.orca.learn.pytorch import Estimator

    return Estimator.from_torch(
        model=ncf,
        optimizer=adam,
        loss=nn.CrossEntropyLoss(),
        metrics=[Accuracy()],
        config=config,
        num_workers=workers,
        seed=seed,
    )


def tabular_estimator(config: Config, workers: int | None, seed: int) -> Any:
    """Return an estimator of machines that fail."""
    from zoo.orca.learn.metrics import AUC
    from zoo.orca.learn.pytorch import Estimator

    return Estimator.from_torch(
        model=tabular,
        optimizer=adam,
        loss=nn.BCELoss(),
        metrics=[AUC()],
        config=config,
        num_workers=workers,
        seed=seed,
    )
