"""A training loop in plain PyTorch, for one process and for DistributedDataParallel.

Rows are tensors in memory, and a batch is taken with one index of all its rows: a DataLoader that
fetches rows one by one and stacks them takes many times as long.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _models import MODELS
from _models_pytorch import LOSSES, OPTIMIZERS
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

Found = dict[str, Any]


class Batches(Sampler[torch.Tensor]):
    """The rows of each batch of an epoch, in a new order each time."""

    def __init__(self, rows: int, batch: int) -> None:
        self.rows, self.batch = rows, batch

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.randperm(self.rows).split(self.batch))

    def __len__(self) -> int:
        return -(-self.rows // self.batch)


def tensors(model: str, file: Path, rank: int = 0, size: int = 1) -> list[torch.Tensor]:
    """Return a rank's rows of a file: features first, labels last; scalars are (rows,)."""
    features, label = MODELS[model].arrays(file)
    arrays = [*(features if isinstance(features, list) else [features]), label]
    found = []
    for array in arrays:
        mine = np.array(array[rank::size])
        found.append(torch.from_numpy(mine[:, 0] if mine.shape[1] == 1 else mine))
    if MODELS[model].is_classes:
        found[-1] = found[-1].long()
    return found


def loader(columns: list[torch.Tensor], batch: int) -> DataLoader[Any]:
    """Return batches of rows in a random order."""
    rows = TensorDataset(*columns)
    return DataLoader(rows, sampler=Batches(len(columns[0]), batch), batch_size=None)


def train(
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    columns: list[torch.Tensor],
    batch: int,
    epochs: int,
    validation: list[torch.Tensor] | None = None,
) -> tuple[dict[str, list[float]], list[list[float]], list[list[float]]]:
    """Train; return the history, and when epochs and validations began and ended."""
    loss_of = LOSSES[name]()
    classes = MODELS[name].is_classes
    history: dict[str, list[float]] = {"loss": []}
    spans: list[list[float]] = []
    validations: list[list[float]] = []
    batches = loader(columns, batch)
    for _ in range(epochs):
        model.train()
        began = time.time()
        # Summed as tensors: to read a number in every step would wait for it.
        total, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for *features, labels in batches:
            optimizer.zero_grad(set_to_none=True)
            outputs = model(*features)
            loss = loss_of(outputs, labels)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(labels)
            if classes:
                correct += (outputs.detach().argmax(-1) == labels).sum()
        rows = len(columns[0])
        history["loss"].append(total.item() / rows)
        if classes:
            history.setdefault("accuracy", []).append(correct.item() / rows)
        spans.append([began, time.time()])
        if validation is not None:
            began = time.time()
            for key, value in evaluate(name, model, validation).items():
                history.setdefault(f"val_{key}", []).append(value)
            validations.append([began, time.time()])
    return history, spans, validations


@torch.inference_mode()
def evaluate(name: str, model: nn.Module, columns: list[torch.Tensor]) -> dict[str, float]:
    """Return loss, and accuracy of classes, over all rows, many at once."""
    model.eval()
    *features, labels = columns
    total, correct = 0.0, 0
    for rows in torch.arange(len(labels)).split(8192):
        outputs = model(*(column[rows] for column in features))
        total += LOSSES[name]()(outputs, labels[rows]).item() * len(rows)
        if MODELS[name].is_classes:
            correct += int((outputs.argmax(-1) == labels[rows]).sum())
    found = {"loss": total / len(labels)}
    return found | ({"accuracy": correct / len(labels)} if MODELS[name].is_classes else {})


def train_rank(
    name: str, config: dict[str, Any], file: str, batch: int, epochs: int, seed: int
) -> Found:
    """Be one process of DistributedDataParallel under `TorchDistributor`; it reads its own shard.

    What rank 0 returns reaches the driver.
    """
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    distributed.init_process_group("gloo")
    rank, size = distributed.get_rank(), distributed.get_world_size()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = MODELS[name].creator("pytorch")(config)
    # Buckets of gradients are sent while later ones are still computed, without another copy.
    wrapped = DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = OPTIMIZERS[name](model, config)
    torch.manual_seed(seed + rank)
    columns = tensors(name, Path(file), rank, size)
    # Every rank must take the same number of steps.
    steps = len(tensors(name, Path(file), size - 1, size)[-1]) * size // batch
    columns = [column[: steps * (batch // size)] for column in columns]
    history, spans, _ = train(name, wrapped, optimizer, columns, batch // size, epochs)
    distributed.barrier()
    distributed.destroy_process_group()
    seconds = [end - began for began, end in spans]
    return {"history": history, "seconds": seconds, "rows": steps * batch}
