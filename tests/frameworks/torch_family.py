"""PyTorch's models for the equalities of all frameworks; PyTorch is imported on ranks alone."""

# Annotations inside functions that travel to the workers must not be looked up there.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.orca.learn.pytorch.recipe import recipe


def optimizer_of(model: Any, config: dict[str, Any]) -> Any:
    """Keras's optimizer of the same name, with Keras's defaults."""
    import torch

    name, arguments = config["optimizer"]
    names = {"learning_rate": "lr", "epsilon": "eps"}
    own = {names.get(key, key): value for key, value in arguments.items()}
    if name == "Adam":
        own = {"eps": 1e-7, **own}
    return getattr(torch.optim, name)(model.parameters(), **own)


def _embedded(config: dict[str, Any]) -> Any:
    import torch
    from torch import nn

    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(500, 3)
            self.hidden = nn.Linear(4, 8)
            self.out = nn.Linear(11, 1)

        def forward(self, x: Any, u: Any) -> Any:
            both = torch.cat([torch.relu(self.hidden(x)), self.table(u)], dim=1)
            return self.out(both).squeeze(-1)

    return Embedded()


def _classifier(config: dict[str, Any]) -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def _normalised(config: dict[str, Any]) -> Any:
    from torch import nn

    layers = [nn.BatchNorm1d(4, momentum=0.5), nn.Linear(4, 4), nn.Linear(4, 1), nn.Flatten(0)]
    return nn.Sequential(*layers)


def _two_outputs(config: dict[str, Any]) -> Any:
    import torch
    from torch import nn

    class TwoOutputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(5, 5)
            self.first, self.second = nn.Linear(5, 1), nn.Linear(5, 1)

        def forward(self, a: Any, b: Any) -> Any:
            hidden = torch.tanh(self.hidden(torch.cat([a, b[:, None]], dim=1)))
            return self.first(hidden).squeeze(-1), self.second(hidden).squeeze(-1)

    return TwoOutputs()


def _two_losses(outputs: Any, targets: Any) -> Any:
    from torch.nn import functional

    (first, second), (y, flag) = outputs, targets
    entropy = functional.binary_cross_entropy_with_logits(second, flag.to(second.dtype))
    return functional.mse_loss(first, y) + 0.5 * entropy


def _ncf(config: dict[str, Any]) -> Any:
    import torch
    from torch import nn

    weights = {name: torch.from_numpy(value) for name, value in config["weights"].items()}

    class Ncf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            tables = {name: table for name, table in list(weights.items())[:4]}
            self.tables = nn.ModuleDict(
                {name: nn.Embedding.from_pretrained(t, freeze=False) for name, t in tables.items()}
            )
            self.hidden, self.out = nn.Linear(8, 8), nn.Linear(12, 5)
            for name in ("hidden", "out"):
                layer = getattr(self, name)
                layer.weight.data.copy_(weights[name].T)
                layer.bias.data.zero_()

        def forward(self, user: Any, item: Any) -> Any:
            of = {name: table(user if "user" in name else item) for name, table in self._tables()}
            hidden = torch.cat([of["mlp_user"], of["mlp_item"]], dim=1)
            product = of["gmf_user"] * of["gmf_item"]
            return self.out(torch.cat([product, torch.relu(self.hidden(hidden))], dim=1))

        def _tables(self) -> Any:
            return self.tables.items()

    return Ncf()


def _mean(config: dict[str, Any]) -> Any:
    from torch import nn

    return nn.MSELoss()


def _sum(config: dict[str, Any]) -> Any:
    from torch import nn

    return nn.MSELoss(reduction="sum")


def _entropy(config: dict[str, Any]) -> Any:
    from torch import nn

    return nn.CrossEntropyLoss()


def _of(model: Any, loss: Any) -> Any:
    return recipe(model=model, optimizer=optimizer_of, loss=loss)


def of_model(function: Callable[[dict[str, Any]], Any]) -> Any:
    """A recipe with this model, and the mean of squared errors."""
    return _of(function, _mean)


def after_steps(function: Callable[[], None]) -> Any:
    """A callback that calls a function after each step."""
    from zoo.orca.learn.pytorch.callbacks import Callback

    class AfterSteps(Callback):
        def after_train_iter(self, runner: Any) -> None:
            function()

    return AfterSteps()


def patient() -> Any:
    """A callback that stops after three epochs."""
    from zoo.orca.learn.pytorch.callbacks import Callback

    class Patient(Callback):
        def __init__(self) -> None:
            self.epochs = 0

        def after_train_epoch(self, runner: Any) -> None:
            self.epochs += 1
            runner.stop = self.epochs == 3

        def state_dict(self) -> dict[str, Any]:
            return {"epochs": self.epochs}

        def load_state_dict(self, state: Any) -> None:
            self.epochs = state["epochs"]

    return Patient()


embedding = _of(_embedded, _mean)
summed = _of(_embedded, _sum)
classifier = _of(_classifier, _entropy)
batchnorm = _of(_normalised, _mean)
two_inputs = _of(_two_outputs, _two_losses)
ncf = _of(_ncf, _entropy)
