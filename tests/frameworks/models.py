"""Model creators of the tests; `config["keras"]` says which Keras."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any


def keras_of(config: dict[str, Any]) -> Any:
    """The Keras of this number."""
    if config["keras"] == 2:
        from tensorflow import keras
    else:
        import keras
    return keras


def optimizer_of(config: dict[str, Any]) -> Any:
    """The optimizer by name and arguments."""
    keras = keras_of(config)
    name, *rest = config.get("optimizer", ("SGD", {"learning_rate": 0.1}))
    legacy = name.startswith("legacy.")
    owner = keras.optimizers.legacy if legacy else keras.optimizers
    return getattr(owner, name.removeprefix("legacy."))(**(rest[0] if rest else {}))


def embedded(config: dict[str, Any]) -> Any:
    """Numbers and an embedding, one output; sparse gradients."""
    keras = keras_of(config)
    x = keras.Input((4,), name="x")
    u = keras.Input((1,), dtype="int32", name="u")
    table = keras.layers.Embedding(
        config.get("vocabulary", 500), 3, embeddings_regularizer=config.get("table_regularizer")
    )
    hidden = keras.layers.Dense(8, activation="relu", kernel_regularizer=config.get("regularizer"))
    both = keras.layers.Concatenate()([hidden(x), keras.layers.Flatten()(table(u))])
    model = keras.Model([x, u], keras.layers.Dense(1, name="out")(both))
    model.compile(
        optimizer_of(config),
        config.get("loss", "mse"),
        metrics=["mae"],
        weighted_metrics=["mse"] if config.get("weighted") else None,
        run_eagerly=config.get("eager", False),
        steps_per_execution=config.get("per_execution", 1),
    )
    return model


def classifier(config: dict[str, Any]) -> Any:
    """Three classes."""
    keras = keras_of(config)
    x = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(6, activation="tanh")(x)
    model = keras.Model(x, keras.layers.Dense(3, activation="softmax")(hidden))
    model.compile(optimizer_of(config), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def ncf(config: dict[str, Any]) -> Any:
    """Matrix factorization beside a small perceptron, with the weights that the config has."""
    keras = keras_of(config)
    layers, weights = keras.layers, config["weights"]
    user, item = (keras.Input((1,), dtype="int32", name=name) for name in ("user", "item"))
    flat = {
        name: layers.Flatten()(layers.Embedding(*table.shape, name=name)(ids))
        for (name, table), ids in zip(list(weights.items())[:4], (user, item) * 2, strict=True)
    }
    product = layers.Multiply()([flat["gmf_user"], flat["gmf_item"]])
    hidden = layers.Concatenate()([flat["mlp_user"], flat["mlp_item"]])
    hidden = layers.Dense(8, activation="relu", name="hidden")(hidden)
    out = layers.Dense(5, activation="softmax", name="out")
    model = keras.Model([user, item], out(layers.Concatenate()([product, hidden])))
    for name, kernel in weights.items():
        layer = model.get_layer(name)
        layer.set_weights([kernel, *(0 * one for one in layer.get_weights()[1:])])
    model.compile(optimizer_of(config), "sparse_categorical_crossentropy")
    return model


def summed(config: dict[str, Any]) -> Any:
    """The embedded model with a loss that is a sum over rows."""
    keras = keras_of(config)
    return embedded({**config, "loss": keras.losses.MeanSquaredError(reduction="sum")})


def two_outputs(config: dict[str, Any]) -> Any:
    """Two inputs, two outputs, weights of losses."""
    keras = keras_of(config)
    a, b = keras.Input((4,), name="a"), keras.Input((1,), name="b")
    hidden = keras.layers.Dense(5, activation="tanh")(keras.layers.Concatenate()([a, b]))
    first = keras.layers.Dense(1, name="first")(hidden)
    second = keras.layers.Dense(1, activation="sigmoid", name="second")(hidden)
    model = keras.Model([a, b], [first, second])
    model.compile(
        optimizer_of(config),
        {"first": "mse", "second": "binary_crossentropy"},
        loss_weights={"first": 1.0, "second": 0.5},
        metrics={"first": ["mae"], "second": ["accuracy"]},
    )
    return model


def normalised(config: dict[str, Any]) -> Any:
    """With batch normalisation."""
    keras = keras_of(config)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Dense(4),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer_of(config), "mse")
    return model


def deferred(config: dict[str, Any]) -> Any:
    """Built by its first batch."""
    keras = keras_of(config)
    model = keras.Sequential([keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(1)])
    model.compile(optimizer_of(config), "mse", metrics=["mae"])
    return model


def subclassed(config: dict[str, Any]) -> Any:
    """A model of the user's own class, with a custom step, that adds up the rows it has seen."""
    import tensorflow as tf

    keras = keras_of(config)

    class Sum(keras.metrics.Metric):
        def __init__(self, name):
            super().__init__(name=name)
            self.total = self.add_weight(name="total", shape=(), initializer="zeros")

        def update_state(self, values, sample_weight=None):
            self.total.assign_add(tf.reduce_sum(tf.cast(values, tf.float32)))

        def result(self):
            return self.total

        def reset_state(self):
            self.total.assign(0.0)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(5, activation="tanh")
            self.out = keras.layers.Dense(1)
            self.seen = Sum("seen")
            self.squares = Sum("squares")
            self.other = keras.optimizers.SGD(0.01)

        @property
        def metrics(self):
            return [self.seen, self.squares]

        def call(self, inputs):
            x, _ = inputs
            return self.out(self.hidden(x))

        def train_step(self, data):
            (x, number), y = data
            with tf.GradientTape(persistent=True) as tape:
                predicted = self((x, number))
                loss = tf.reduce_mean((predicted - y) ** 2)
            hidden, out = self.hidden.trainable_variables, self.out.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, hidden), hidden, strict=True))
            self.other.apply_gradients(zip(tape.gradient(loss, out), out, strict=True))
            self.seen.update_state(number)
            self.squares.update_state(number**2)
            return {"seen": self.seen.result(), "squares": self.squares.result(), "raw": loss}

    model = Model()
    model.compile(optimizer_of(config), "mse")
    return model


def after_steps(version: int, function: Callable[[], None]) -> Any:
    """A callback that calls a function after each step."""
    keras = keras_of({"keras": version})

    class AfterSteps(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            function()

    return AfterSteps()


def patient(version: int) -> Any:
    """A callback that stops after three epochs, and goes back to the first one's weights."""
    keras = keras_of({"keras": version})
    return keras.callbacks.EarlyStopping(
        "loss", patience=2, min_delta=1e6, restore_best_weights=True
    )


def named(config: dict[str, Any]) -> Any:
    """Ten times the item and once the user, by `config["inputs"]`: a dict of inputs, or a list.

    An OrderedDict is in another order than that of its keys.
    """
    keras = keras_of(config)
    user, item = keras.Input((1,), name="user"), keras.Input((1,), name="item")
    tens = keras.layers.Rescaling(10.0)(item)
    tables = {
        "dict": {"user": user, "item": item},
        "list": [item, user],
        "ordered": OrderedDict(user=user, item=item),
        "nested": {"who": {"user": user}, "what": [item]},
    }
    model = keras.Model(tables[config["inputs"]], keras.layers.Add()([tens, user]))
    model.compile("sgd", "mse")
    return model


def rated(config: dict[str, Any]) -> Any:
    """Outputs rating and click of one number each, in a dict or a list; no bias.

    Of the shared ones, both are the rating.
    """
    keras = keras_of(config)
    x = keras.Input((4,), name="x")
    rating = keras.layers.Dense(1, use_bias=False, name="rating")(x)
    click = keras.layers.Dense(1, use_bias=False, name="click")(x)
    tables = {
        "dict": {"rating": rating, "click": click},
        "ordered": OrderedDict(rating=rating, click=click),
        "shared": {"rating": rating, "click": rating},
        "list": [rating, click],
    }
    model = keras.Model(x, tables[config["outputs"]])
    losses = config.get("losses", {"rating": "mse", "click": "mae"})
    # Keras 3 wants the losses of an OrderedDict in another.
    ordered = config["outputs"] == "ordered"
    model.compile(optimizer_of(config), OrderedDict(losses) if ordered else losses)
    return model
