"""A driver that has not one framework, and workers that have those of one extra; or the reverse.

Called with a directory and "workers", or with the name of a family for that family's driver. The
last line of what it prints is its answer. `test_one_extra` says what each process can import.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

#: Packages of each extra, as they are imported, with what they bring of each other's.
PACKAGES = {
    "tf2": ("tensorflow", "tf_keras", "keras"),
    "keras": ("keras", "jax", "jaxlib"),
    "torch": ("torch", "torchmetrics"),
    "demo": ("matplotlib",),
}
ALL = {name for names in PACKAGES.values() for name in names}

#: The extras that each family asks for.
EXTRAS = {
    "tf2": ("tf2",),
    "keras-jax": ("keras",),
    "keras-torch": ("keras", "torch"),
    "keras-tensorflow": ("keras", "tf2"),
    "pytorch": ("torch",),
}

#: Packages that a worker may lack.
NEEDED = [
    ("tf2", "tensorflow"),
    ("tf2", "tf_keras"),
    ("keras-jax", "keras"),
    ("keras-jax", "jax"),
    ("keras-torch", "torch"),
    ("keras-tensorflow", "tensorflow"),
    ("pytorch", "torch"),
    ("pytorch", "torchmetrics"),
]

#: Read by the `sitecustomize` of every process: top-level packages that are as if not installed.
HIDDEN = "ORCA_TEST_HIDDEN"


def hidden_beside(*extras: str) -> set[str]:
    """What an environment with nothing but these extras lacks."""
    return ALL - {name for extra in extras for name in PACKAGES[extra]}


def keras_model(config: dict[str, Any]) -> Any:
    """One layer, of the Keras that the configuration names."""
    if config["keras"] == 2:
        from tensorflow import keras
    else:
        import keras
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model


def torch_model(config: dict[str, Any]) -> Any:
    """One layer."""
    from torch import nn

    return nn.Linear(1, 1)


def torch_optimizer(model: Any, config: dict[str, Any]) -> Any:
    """Plain descent."""
    import torch

    return torch.optim.SGD(model.parameters(), 0.1)


def torch_loss(config: dict[str, Any]) -> Any:
    """The mean of squares."""
    from torch import nn

    return nn.MSELoss()


def estimator(family: str, hidden: set[str] | None = None) -> Any:
    """The family's estimator, whose workers lack some packages."""
    one = {"num_workers": 1}
    if family == "tf2":
        from zoo.orca.learn.tf2 import Estimator

        made: Any = Estimator.from_keras(model_creator=keras_model, config={"keras": 2}, **one)
    elif family == "pytorch":
        from zoo.orca.learn.metrics import MAE
        from zoo.orca.learn.pytorch import Estimator

        made = Estimator.from_torch(
            model=torch_model, optimizer=torch_optimizer, loss=torch_loss, metrics=[MAE()], **one
        )
    else:
        from zoo.orca.learn.keras import Estimator

        backend = family.partition("-")[2]
        made = Estimator.from_keras(
            model_creator=keras_model, config={"keras": 3}, keras_backend=backend, **one
        )
    if hidden is not None:
        environment = {**made._options.environment, HIDDEN: ",".join(sorted(hidden))}
        made = type(made)(made._model, replace(made._options, environment=environment))
    return made


def raised(function: Any) -> dict[str, str]:
    """The error of a call: its type, and what it says."""
    try:
        function()
    except Exception as error:
        return {"type": type(error).__name__, "message": str(error)}
    return {"type": "no error", "message": ""}


def fit(made: Any, rows: Any) -> Any:
    """Two epochs."""
    columns = {"feature_cols": ["x"], "label_cols": ["y"]}
    return made.fit(rows, epochs=2, batch_size=20, verbose=0, **columns)


def whole_day(family: str, rows: Any, directory: Path) -> dict[str, Any]:
    """Fit, evaluate, predict and save with the family's extras; the driver has nothing."""
    made = estimator(family, hidden_beside(*EXTRAS[family]))
    history = fit(made, rows).history
    found = made.evaluate(rows, feature_cols=["x"], label_cols=["y"], batch_size=20, verbose=0)
    predicted = made.predict(rows, feature_cols=["x"]).collect()
    made.save(str(directory / family))
    return {
        "loss": history["loss"],
        "evaluated": found,
        "rows": [[*row["y"], *row["prediction"]] for row in predicted],
        "get_model": raised(made.get_model),
    }


def workers(directory: Path) -> dict[str, Any]:
    """Every family on its own extras, and each package missing once."""
    from pyspark.sql import functions as F

    from zoo.orca import init_orca_context, stop_orca_context
    from zoo.orca.context.context import OrcaContext

    init_orca_context("local", cores=1, memory="1g", conf={"spark.ui.enabled": "false"})
    spark = OrcaContext.get_spark_session()
    x, y = (F.array((F.col("id") / size).cast("float")) for size in (40, 20))
    rows = spark.range(40, numPartitions=1).select(x.alias("x"), y.alias("y"))
    days = {family: whole_day(family, rows, directory) for family in EXTRAS}
    lacking = {
        f"{family} {package}": raised(lambda f=family, p=package: fit(estimator(f, {p}), rows))
        for family, package in NEEDED
    }
    imported = sorted(ALL & {name.partition(".")[0] for name in sys.modules})
    stop_orca_context()
    return {"days": days, "lacking": lacking, "imported": imported}


def driver(family: str, directory: Path) -> dict[str, Any]:
    """The model that was trained, on a driver that has the family's extras."""
    made = estimator(family)
    made.load(str(directory / family))
    x = [[0.0], [1.0]]
    if family == "pytorch":
        import torch

        with torch.no_grad():
            return {"predicted": made.get_model()(torch.tensor(x)).tolist()}
    import numpy as np

    model = made.get_model()
    return {"predicted": model.predict(np.array(x, np.float32), verbose=0).tolist()}


def main() -> None:
    """Answer on the last line."""
    directory, part = Path(sys.argv[1]), sys.argv[2]
    print(json.dumps(workers(directory) if part == "workers" else driver(part, directory)))


if __name__ == "__main__":
    main()
