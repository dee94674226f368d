"""Every shape that labels, losses, weights and metrics may have beside a model's outputs."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

OUTPUTS = ("one", "list of one", "dict of one", "list", "dict")
ONE, SEVERAL = "one", "several"
LOSSES: dict[str, tuple[Any, ...]] = {
    ONE: ("mse", ["mse"], {"main": "mse"}),
    SEVERAL: (
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
LABELS: dict[str, tuple[Any, ...]] = {
    ONE: (["y"], {"main": "y"}),
    SEVERAL: (["y"], ["y", "z"], {"main": "y"}, {"aux": "y"}, {"main": "y", "aux": "z"}),
}
#: Weights of rows, and metrics.
BESIDE: dict[str, tuple[tuple[Any, Any], ...]] = {
    ONE: ((None, None), ("w", None), (None, ["mae"]), ("w", {"main": ["mae"]}), (None, [["mae"]])),
    SEVERAL: (
        (None, None),
        ("w", None),
        (None, ["mae"]),
        ("w", {"main": ["mae"]}),
        (None, {"main": ["mae"], "aux": ["mse"]}),
        (None, [["mae"], ["mse"]]),
    ),
}
ROWS, BATCH = 14, 10


def combinations() -> Iterator[dict[str, Any]]:
    """All of them."""
    for outputs in OUTPUTS:
        kind = SEVERAL if outputs in ("list", "dict") else ONE
        for loss, labels, (weight, metrics) in itertools.product(
            LOSSES[kind], LABELS[kind], BESIDE[kind]
        ):
            yield {
                "outputs": outputs,
                "loss": loss,
                "labels": labels,
                "weight": weight,
                "metrics": metrics,
            }


def pairs(combo: dict[str, Any]) -> set[tuple[str, str]]:
    """Every two values of a combination, beside whether its model has one output or several."""
    is_one = "one" in combo["outputs"]
    values = [f"{is_one} {name} {combo[name]}" for name in ("outputs", "loss", "labels")]
    values.append(f"{is_one} {combo['weight']} {combo['metrics']}")
    return set(itertools.combinations(values, 2))


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


def plain(config: dict[str, Any]) -> Any:
    """What plain Keras's `fit` makes of it: history and weights."""
    data = rows()

    def given(names: Any) -> Any:
        if isinstance(names, dict):
            return {key: data[name][:, None] for key, name in names.items()}
        arrays = [data[name][:, None] for name in names]
        return arrays if len(arrays) > 1 else arrays[0]

    model = shaped(config)
    history = model.fit(
        data["x"],
        given(config["labels"]),
        sample_weight=weights(config, data),
        batch_size=BATCH,
        epochs=2,
        shuffle=False,
        verbose=0,
    ).history
    return history, [np.asarray(one) for one in model.get_weights()]


def weights(config: dict[str, Any], data: dict[str, np.ndarray]) -> Any:
    """Weights of rows as plain Keras takes them; ones for an output that is not named."""
    given = config["weight"]
    if not isinstance(given, dict):
        return data.get(given)
    known = {name: data.get(given.get(name), np.ones(ROWS, "f4")) for name in ("main", "aux")}
    return list(known.values()) if config["outputs"] == "list" else known


def ours(config: dict[str, Any], framework: str) -> Any:
    """What a job on one worker makes of it."""
    from tests.frameworks.ranks import Alone, Data, World, job_of, plugin_of
    from zoo.orca.wire.job import TrainJob

    data = Data.of(
        rows(), (ROWS,), features=("x",), labels=config["labels"], weight=config["weight"]
    )
    fields = {"config": config, "framework": framework, "batch_size": BATCH, "epochs": 2}
    job = job_of(TrainJob, shaped, data.spec, **fields)
    plugin, world = plugin_of(job), World(collective=Alone(), report=lambda progress: None)
    plugin.prepare(job, 1)
    trained = plugin.train(job, data.rows(0, BATCH, shuffle=False), None, world)
    tensors = trained.state().tensors
    return trained.history, [v for name, v in tensors.items() if name.startswith("weights/")]


def swept(config: dict[str, Any], framework: str, combos: list[dict[str, Any]]) -> dict[str, Any]:
    """How many combinations plain Keras takes, and those of which a job makes something else."""
    tried = [_tried(config, framework, combo) for combo in combos]
    taken = [one for one in tried if one is not None]
    return {"taken": len(taken), "wrong": [one for one in taken if one]}


def swept_by_pairs(
    config: dict[str, Any],
    framework: str,
    combos: list[dict[str, Any]],
    seen: set[tuple[str, str]],
    seconds: float,
) -> dict[str, Any]:
    """Try combinations until each pair of values that plain Keras takes in any has been tried.

    The one with most pairs that are not in `seen` is always next. Ends after `seconds`; what is
    `left` can be given again.
    """
    left = [(pairs(combo), combo) for combo in combos]
    taken, wrong, end = 0, [], time.monotonic() + seconds
    while left and time.monotonic() < end:
        left.sort(key=lambda one: len(one[0] - seen))
        new, combo = left.pop()
        if new <= seen:
            left = []
        elif (found := _tried(config, framework, combo)) is not None:
            taken, seen, wrong = taken + 1, seen | new, wrong + ([found] if found else [])
    return {"taken": taken, "wrong": wrong, "seen": seen, "left": [combo for _, combo in left]}


def _tried(config: dict[str, Any], framework: str, combo: dict[str, Any]) -> tuple[Any, ...] | None:
    """What is wrong with a job; None where plain Keras refuses it, too."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of variables without a gradient, which some have
        try:
            expected = plain({**config, **combo})
        except Exception:
            return None
        try:
            found = ours({**config, **combo}, framework)
        except Exception as error:
            return combo, repr(error)
    return () if _same(found, expected) else (combo, found, expected)


def _same(found: Any, expected: Any) -> bool:
    histories = sorted(found[0]) == sorted(expected[0]) and all(
        np.allclose(found[0][name], values, rtol=1e-5) for name, values in expected[0].items()
    )
    weights = zip(found[1], expected[1], strict=True)
    return histories and all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in weights)
