"""The examples' models in Keras 2 (`tensorflow.keras`), and their estimators."""

from typing import Any

Config = dict[str, Any]


def ncf(config: Config) -> Any:
    """Return the compiled model of ratings: matrix factorization beside a small perceptron."""
    import tensorflow as tf
    from tensorflow import keras

    embedding_size = 16
    user = keras.layers.Input(dtype=tf.int32, shape=(None,))
    item = keras.layers.Input(dtype=tf.int32, shape=(None,))
    users, items = config["max_user_id"] + 1, config["max_item_id"] + 1

    with tf.name_scope("GMF"):
        user_embed_GMF = keras.layers.Embedding(users, embedding_size)(user)
        item_embed_GMF = keras.layers.Embedding(items, embedding_size)(item)
        GMF = keras.layers.Multiply()([user_embed_GMF, item_embed_GMF])

    with tf.name_scope("MLP"):
        user_embed_MLP = keras.layers.Embedding(users, embedding_size)(user)
        item_embed_MLP = keras.layers.Embedding(items, embedding_size)(item)
        interaction = tf.concat([user_embed_MLP, item_embed_MLP], axis=-1)
        layer1_MLP = keras.layers.Dense(units=embedding_size * 2, activation="relu")(interaction)
        layer1_MLP = keras.layers.Dropout(rate=0.2)(layer1_MLP)
        layer2_MLP = keras.layers.Dense(units=embedding_size, activation="relu")(layer1_MLP)
        layer2_MLP = keras.layers.Dropout(rate=0.2)(layer2_MLP)
        layer3_MLP = keras.layers.Dense(units=embedding_size // 2, activation="relu")(layer2_MLP)
        layer3_MLP = keras.layers.Dropout(rate=0.2)(layer3_MLP)

    # Concatenate the two parts.
    with tf.name_scope("concatenation"):
        concatenation = tf.concat([GMF, layer3_MLP], axis=-1)
        outputs = keras.layers.Dense(units=5, activation="softmax")(concatenation)

    model = keras.Model(inputs=[user, item], outputs=outputs)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def tabular(config: Config) -> Any:
    """Return the compiled model of machines that fail: a perceptron over all three columns."""
    from tensorflow import keras

    readings = keras.Input((config["readings"],))
    profile = keras.Input((config["profile"],))
    site = keras.Input((1,), dtype="int32")
    place = keras.layers.Flatten()(keras.layers.Embedding(config["sites"], 4)(site))
    x = keras.layers.Concatenate()([readings, profile, place])
    for units in (32, 16):
        x = keras.layers.Dense(units, activation="relu")(x)
    probability = keras.layers.Dense(1, activation="sigmoid")(x)
    model = keras.Model([readings, profile, site], probability)
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    return model


def ncf_estimator(config: Config, workers: int | None, seed: int) -> Any:
    """Return an estimator of ratings."""
    from zoo.orca.learn.tf2 import Estimator

    return Estimator.from_keras(model_creator=ncf, config=config, num_workers=workers, seed=seed)


def tabular_estimator(config: Config, workers: int | None, seed: int) -> Any:
    """Return an estimator of machines that fail."""
    from zoo.orca.learn.tf2 import Estimator

    return Estimator.from_keras(
        model_creator=tabular, config=config, num_workers=workers, seed=seed
    )
