"""Every shape that labels, losses, weights and metrics may have beside a model's outputs."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

OUTPUTS = ("one", "list of one", "dict of one", "list", "dict")
LOSSES = {
    "one": ("mse", ["mse"], {"main": "mse"}),
    "several": (
        "mse",
        ["mse", "mae"],
        ["mse", None],
        [None, "mse"],
        {"main": "mse"},
        {"aux": "mse"},
        {"main": "mse", "aux": None},
        {"main": "mse", "aux": "mae"},
    ),
}
LABELS = {
    "one": (["y"], {"main": "y"}),
    "several": (["y"], ["y", "z"], {"main": "y"}, {"aux": "y"}, {"main": "y", "aux": "z"}),
}
WEIGHTS = (None, "w", {"main": "w"}, {"main": "w", "aux": "v"})
METRICS = {
    "one": (None, ["mae"], {"main": ["mae"]}, [["mae"]]),
    "several": (
        None,
        ["mae"],
        {"main": ["mae"]},
        {"main": ["mae"], "aux": ["mse"]},
        [["mae"], ["mse"]],
    ),
}
ROWS, BATCH = 24, 10


def combinations() -> Iterator[dict[str, Any]]:
    """All of them; metrics beside one kind of weights only, and the other way round."""
    for outputs in OUTPUTS:
        kind = "several" if outputs in ("list", "dict") else "one"
        for loss, labels in itertools.product(LOSSES[kind], LABELS[kind]):
            weights = [w for w in WEIGHTS if kind == "several" or w in (None, "w")]
            beside = [(weight, None) for weight in weights]
            beside += [(None, metrics) for metrics in METRICS[kind][1:]]
            beside += [("w", METRICS[kind][2])]
            for weight, metrics in beside:
                yield {
                    "outputs": outputs,
                    "loss": loss,
                    "labels": labels,
                    "weight": weight,
                    "metrics": metrics,
                }


def rows(count: int = ROWS) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(count, 3)).astype(np.float32)
    return {
        "x": x,
        "y": x[:, 0] + 1,
        "z": x[:, 1] - 2,
        "w": random.uniform(0.5, 2, count).astype(np.float32),
        "v": random.uniform(0.5, 2, count).astype(np.float32),
    }


def shaped(config: dict[str, Any]) -> Any:
    """A model with the outputs, losses and metrics that the combination names."""
    from tests.frameworks.models import keras_of

    keras = keras_of(config)
    x = keras.Input((3,), name="x")

    def dense(name: str, seed: int) -> Any:
        start = keras.initializers.RandomUniform(-1, 1, seed=seed)
        return keras.layers.Dense(1, kernel_initializer=start, name=name)(x)

    main, aux = dense("main", 1), dense("aux", 2)
    outputs = {
        "one": main,
        "list of one": [main],
        "dict of one": {"main": main},
        "list": [main, aux],
        "dict": {"main": main, "aux": aux},
    }[config["outputs"]]
    model = keras.Model(x, outputs)
    weighted = config["metrics"] if config["weight"] is not None else None
    model.compile(
        keras.optimizers.SGD(0.1),
        config["loss"],
        metrics=config["metrics"] if weighted is None else None,
        weighted_metrics=weighted,
        run_eagerly=config.get("eager", True),
    )
    return model


def plain(config: dict[str, Any], label_lists: bool) -> Any:
    """What plain Keras's `fit` makes of it: history and weights."""
    data = rows()

    def given(names: Any, lists: bool) -> Any:
        if isinstance(names, dict):
            return {key: data[name][:, None] for key, name in names.items()}
        arrays = [data[name][:, None] for name in names]
        return arrays if lists or len(arrays) > 1 else arrays[0]

    weight = config["weight"]
    if isinstance(weight, dict):
        weight = {key: data[name] for key, name in weight.items()}
    elif weight is not None:
        weight = data[weight]
    model = shaped(config)
    history = model.fit(
        data["x"],
        given(config["labels"], label_lists),
        sample_weight=weight,
        batch_size=BATCH,
        epochs=2,
        shuffle=False,
        verbose=0,
    ).history
    return history, [np.asarray(one) for one in model.get_weights()]
