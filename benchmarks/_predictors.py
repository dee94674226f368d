"""The estimators whose predictions are timed, and each framework's own way to predict."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

#: What a bare process of each framework imports.
IMPORTS = {
    "tf2": "import tensorflow, tf_keras",
    "pytorch": "import torch",
    "keras-jax": "import jax, keras",
}
CONFIG = {"max_user_id": 6040, "max_item_id": 3952}


def choose_backend(framework: str) -> None:
    """Choose Keras's backend, for this process and those that it starts."""
    if framework.startswith("keras-"):
        os.environ["KERAS_BACKEND"] = framework.partition("-")[2]


def estimator(framework: str) -> Any:
    """Return an estimator of the example's model of ratings, which nothing has trained."""
    if framework == "pytorch":
        from zoo.orca.learn.pytorch import Estimator as TorchEstimator

        return TorchEstimator.from_torch(model=torch_model, config=CONFIG)
    if framework == "tf2":
        from models_tf2 import ncf as creator

        from zoo.orca.learn.tf2 import Estimator
    else:
        from models_keras import ncf as creator

        from zoo.orca.learn.keras import Estimator
    return Estimator.from_keras(model_creator=creator, config=CONFIG)


def torch_model(config: dict[str, Any]) -> Any:
    """Return the model of ratings in PyTorch."""
    from models_pytorch import NCF

    return NCF(config["max_user_id"] + 1, config["max_item_id"] + 1)


def predictor(framework: str, model: Any, batch_size: int) -> Callable[[Sequence[Any]], object]:
    """Return the framework's own prediction of columns, in batches."""
    if framework != "pytorch":
        return lambda columns: model.predict(
            [column[:, None] for column in columns], batch_size=batch_size, verbose=0
        )
    import torch

    model.eval()

    def predict(columns: Sequence[Any]) -> Any:
        tensors = [torch.from_numpy(column.copy()) for column in columns]
        with torch.inference_mode():
            batches = zip(*(tensor.split(batch_size) for tensor in tensors), strict=True)
            return torch.cat([model(*batch) for batch in batches]).numpy()

    return predict


def import_seconds(framework: str) -> float:
    """Return how long a bare process of the framework takes to import it, to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS[framework]], check=True, capture_output=True)
    return time.perf_counter() - began
