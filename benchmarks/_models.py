"""The models that are trained, with rows to train them on.

========= =====================================================================  =======
ncf       the example's: embeddings of 16, three small layers; two ids a row      Adam
dense     100 floats -> 512 -> 512 -> 1                                           Adam
embedding 4 ids a row -> a table of 1,000,000 x 64 -> their mean -> 1             Adagrad
wide      as many floats as its four square layers are wide -> 1; PyTorch only    SGD
========= =====================================================================  =======

The large table has Adagrad, because its update touches only the rows that a step saw. Adam's, and
with tf_keras SGD's too, goes over all 64 million numbers in every step, in plain Keras as well:
that would measure the machine's memory and nothing else.

Each framework's are in a file of their own: _models_tf2.py, _models_keras.py, _models_pytorch.py.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import _paths  # noqa: F401
import numpy as np
import pyarrow as pa
from pyarrow import parquet
from ratings import MOVIELENS_1M, generate

Config = dict[str, Any]


def ncf_rows(rows: int, seed: int) -> pa.Table:
    """Return so many of a million generated ratings, which have all users and all films."""
    ratings = _ratings()
    chosen = np.random.default_rng(seed).permutation(ratings.num_rows)[:rows]
    label = pa.array(ratings["rating"].to_numpy() - 1)
    table = pa.table([ratings["user"], ratings["item"], label], names=["user", "item", "label"])
    return table.take(chosen)


@cache
def _ratings() -> pa.Table:
    return generate(MOVIELENS_1M)


def dense_rows(rows: int, seed: int, width: int = 100) -> pa.Table:
    """Return rows of so many floats, and a label that depends on them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, width), dtype=np.float32)
    y = x @ rng.standard_normal(width, dtype=np.float32) / np.float32(width**0.5)
    return pa.table([_lists(x), pa.array(y)], names=["x", "y"])


def embedding_rows(rows: int, seed: int, power: float = 1.0) -> pa.Table:
    """Return rows of 4 ids; with a greater power, the smaller ids come more often."""
    rng = np.random.default_rng(seed)
    ids = (1_000_000 * rng.random((rows, 4)) ** power).astype(np.int32)
    y = rng.standard_normal(rows, dtype=np.float32)
    return pa.table([_lists(ids), pa.array(y)], names=["ids", "y"])


def _lists(array: np.ndarray) -> pa.Array:
    offsets = np.arange(0, array.size + 1, array.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(array.reshape(-1)))


@dataclass(frozen=True)
class Model:
    """A model: its name, its columns, what Keras compiles it with, and its rows."""

    name: str
    features: list[str]
    label: str
    compiled: Config
    rows: Callable[[int, int], pa.Table]

    @property
    def is_classes(self) -> bool:
        """Whether labels are numbers of classes."""
        return "metrics" in self.compiled

    def creator(self, framework: str) -> Callable[[Config], Any]:
        """Return the model's creator; of Keras 3 there is one for all backends."""
        module = importlib.import_module(f"_models_{framework.partition('-')[0]}")
        found: Callable[[Config], Any] = getattr(module, self.name)
        return found

    def config(self, *files: Path) -> Config:
        """Return what the creator needs to know, with the largest ids of the files' rows."""
        config: Config = {"compile": self.compiled}
        if self.name == "wide":
            config["width"] = len(parquet.read_table(files[0], columns=["x"])["x"][0])
        if self.features == ["user", "item"]:
            tables = [parquet.read_table(file, columns=self.features) for file in files]
            for name in self.features:
                largest = max(int(table[name].to_numpy().max()) for table in tables)
                config[f"max_{name}_id"] = largest
        return config

    def arrays(self, file: Path) -> tuple[Any, np.ndarray]:
        """Return a file's features and labels as Keras takes them."""
        table = parquet.read_table(file)
        features = [_matrix(table[name]) for name in self.features]
        label = _matrix(table[self.label])
        return features if len(features) > 1 else features[0], label


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    array = column.combine_chunks()
    if pa.types.is_list(array.type):
        return array.flatten().to_numpy().reshape(len(array), -1)
    return array.to_numpy().reshape(-1, 1)


CLASSES = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
MODELS = {
    "ncf": Model("ncf", ["user", "item"], "label", {"optimizer": "adam", **CLASSES}, ncf_rows),
    "dense": Model("dense", ["x"], "y", {"optimizer": "adam", "loss": "mse"}, dense_rows),
    "embedding": Model(
        "embedding", ["ids"], "y", {"optimizer": "adagrad", "loss": "mse"}, embedding_rows
    ),
    "wide": Model("wide", ["x"], "y", {}, dense_rows),
}


def save_rows(directory: Path, model: str, rows: int, power: float = 1.0) -> str:
    """Write rows for a model, once; return the name of the file without its suffix.

    `power` is that of `embedding_rows`.
    """
    name = f"{model}-{power:g}-{rows}"
    file = directory / f"{name}.parquet"
    if not file.exists():
        table = MODELS[model].rows(rows, 0) if power == 1.0 else embedding_rows(rows, 0, power)
        parquet.write_table(table, file)
    return name
