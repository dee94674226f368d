"""The examples' models in Keras 3, on the backend that Keras is configured to, and estimators.

The backend is that of the variable KERAS_BACKEND or of Keras's own configuration file.
"""

from typing import Any

Config = dict[str, Any]


def ncf(config: Config) -> Any:
    """Return the compiled model of ratings: matrix factorization beside a small perceptron."""
    import keras
    from keras import layers

    size = 16
    user, item = (keras.Input((1,), dtype="int32", name=name) for name in ("user", "item"))

    def embedded(ids: Any, largest: int) -> Any:
        return layers.Flatten()(layers.Embedding(largest + 1, size)(ids))

    largest = [config["max_user_id"], config["max_item_id"]]
    factors = [embedded(ids, most) for ids, most in zip((user, item), largest, strict=True)]
    x = layers.Concatenate()(
        [embedded(ids, most) for ids, most in zip((user, item), largest, strict=True)]
    )
    for units in (size * 2, size, size // 2):
        x = layers.Dropout(0.2)(layers.Dense(units, activation="relu")(x))
    both = layers.Concatenate()([layers.Multiply()(factors), x])
    model = keras.Model([user, item], layers.Dense(5, activation="softmax")(both))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def tabular(config: Config) -> Any:
    """Return the compiled model of machines that fail: a perceptron over all three columns."""
    import keras
    from keras import layers

    readings = keras.Input((config["readings"],), name="readings")
    profile = keras.Input((config["profile"],), name="profile")
    site = keras.Input((1,), dtype="int32", name="site")
    place = layers.Flatten()(layers.Embedding(config["sites"], 4)(site))
    x = layers.Concatenate()([readings, profile, place])
    for units in (32, 16):
        x = layers.Dense(units, activation="relu")(x)
    probability = layers.Dense(1, activation="sigmoid")(x)
    model = keras.Model([readings, profile, site], probability)
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    return model


def ncf_estimator(config: Config, workers: int | None, seed: int) -> Any:
    """Return an estimator of ratings."""
    from zoo.orca.learn.keras import Estimator

    return Estimator.from_keras(model_creator=ncf, config=config, num_workers=workers, seed=seed)


def tabular_estimator(config: Config, workers: int | None, seed: int) -> Any:
    """Return an estimator of machines that fail."""
    from zoo.orca.learn.keras import Estimator

    return Estimator.from_keras(
        model_creator=tabular, config=config, num_workers=workers, seed=seed
    )
