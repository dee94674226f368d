"""Where mistakes are made: a session, a framework with a small model, and what a user then sees."""

import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

FRAMEWORKS = ("tf2", "keras", "torch")
#: For mistakes that are made before there is an estimator.
NO_FRAMEWORK = "no framework"
SESSIONS = ("classic", "connect")
LINES = 2


@dataclass(frozen=True)
class World:
    """One framework in one session.

    Parameters
    ----------
    spark : SparkSession
    framework : str
    directory : Path
        For files of the case's own.
    """

    spark: SparkSession
    framework: str
    directory: Path

    @property
    def frame(self) -> DataFrame:
        """Forty rows: a number, a label from it, a class, an array, a text and a time."""
        return self.spark.range(0, 40, 1, 1).selectExpr(
            "double(id % 7) as x",
            "double(id % 7) / 7 as y",
            "int(id % 3) as label",
            "array(double(id), 1.0D) as pair",
            "concat('user ', id) as user",
            "timestamp_seconds(id) as seen",
        )

    def estimator(self, creator: Callable[[Any], Any] | None = None, **more: Any) -> Any:
        """Return an estimator of a model that fits column x; `creator` makes another one."""
        if self.framework == "torch":
            from zoo.orca.learn.pytorch import Estimator

            given = {"model": creator or torch_model, "optimizer": torch_optimizer}
            return Estimator.from_torch(**{**given, "loss": torch_loss, **more})
        if self.framework == "keras":
            from zoo.orca.learn.keras import Estimator

            more = {"keras_backend": "jax", **more}
            return Estimator.from_keras(model_creator=creator or keras3_model, **more)
        from zoo.orca.learn.tf2 import Estimator

        return Estimator.from_keras(model_creator=creator or keras2_model, **more)

    def fit(self, estimator: Any = None, data: Any = None, **more: Any) -> Any:
        """Train as it is right, but for what is given."""
        right = {"feature_cols": ["x"], "label_cols": ["y"], "batch_size": 20, "verbose": 0}
        estimator = self.estimator() if estimator is None else estimator
        return estimator.fit(self.frame if data is None else data, **{**right, **more})

    def seen(self, mistake: Callable[["World"], Any]) -> str:
        """Return the head of what a user sees of a mistake."""
        try:
            mistake(self)
        except Exception as error:
            lines = f"{type(error).__name__}: {str(error).strip()}".splitlines()[:LINES]
            return self._anywhere("\n".join(line.rstrip() for line in lines))
        return "no error"

    def _anywhere(self, text: str) -> str:
        """Replace what is of this machine or of this run."""
        root = Path(__file__).parents[2]
        names: Mapping[str, str] = {
            f"in {os.getcwd()},": "in <here>,",
            str(self.directory): "<dir>",
            sys.executable: "<python>",
            str(root): "<project>",
            socket.gethostname(): "<host>",
            "127.0.0.1": "<host>",
            socket.gethostbyname(socket.gethostname()): "<host>",
            ".".join(map(str, sys.version_info[:3])): "<version>",
        }
        for name, shown in names.items():
            text = text.replace(name, shown)
        text = re.sub(r"rank 0 on \d+\.\d+\.\d+\.\d+", "rank 0 on <host>", text)
        text = re.sub(r"process \d+", "process <pid>", text)
        return re.sub(r"(line |\.py:)\d+", r"\1<n>", text)


def keras2_model(config: dict[str, Any]) -> Any:
    import tf_keras

    return _keras_model(tf_keras)


def keras3_model(config: dict[str, Any]) -> Any:
    import keras

    return _keras_model(keras)


def _keras_model(keras: Any) -> Any:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def torch_model(config: dict[str, Any]) -> Any:
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x: Any) -> Any:
            return self.layer(x.reshape(-1, 1))[:, 0]

    return Model()


def torch_optimizer(model: Any, config: dict[str, Any]) -> Any:
    import torch

    return torch.optim.SGD(model.parameters(), lr=0.01)


def torch_loss(config: dict[str, Any]) -> Any:
    import torch

    return torch.nn.MSELoss()


def path_of_project() -> str:
    """Return what another process needs to find these modules."""
    root = Path(__file__).parents[2]
    return os.pathsep.join([str(root), str(root / "src")])
