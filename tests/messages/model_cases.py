"""Mistakes with models and what they are given, each as small as it can be."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pyspark.sql import functions as F

from tests.messages.table import case
from tests.messages.world import World, torch_model

KERAS, TORCH = ("tf2", "keras"), ("torch",)


def keras_model(
    world: World,
    *shapes: tuple[int, ...],
    outputs: Callable[[Any, list[Any]], Any] | None = None,
    dtype: str = "float32",
    **compiled: Any,
) -> Callable[[Any], Any]:
    """Return a creator of a model with inputs a, b, ... of these shapes; by default one number."""
    package = "tf_keras" if world.framework == "tf2" else "keras"

    def creator(config: Any) -> Any:
        keras = importlib.import_module(package)
        inputs = [keras.Input(shape, name="abc"[k], dtype=dtype) for k, shape in enumerate(shapes)]
        if outputs is None:
            flat = [keras.layers.Flatten()(one) for one in inputs]
            joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
            made = keras.layers.Dense(1, name="out")(joined)
        else:
            made = outputs(keras, inputs)
        model = keras.Model(inputs[0] if len(inputs) == 1 else inputs, made)
        model.compile(**{"optimizer": "sgd", "loss": "mse", **compiled})
        return model

    return creator


def module(forward: Callable[..., Any], *layers: Any) -> Callable[[Any], Any]:
    """Return a creator of a PyTorch model with `self.layer` and this forward."""

    def creator(config: Any) -> Any:
        import torch

        made = layers[0](torch.nn) if layers else torch.nn.Linear(1, 1)
        body = {"forward": forward}
        model = type("Model", (torch.nn.Module,), body)()
        model.layer = made
        return model

    return creator


def classifier(world: World, classes: int = 3, **more: Any) -> Any:
    """Return an estimator of a model of classes."""
    if world.framework == "torch":

        def loss(config: Any) -> Any:
            import torch

            return torch.nn.CrossEntropyLoss()

        def forward(self: Any, x: Any) -> Any:
            return self.layer(x.reshape(-1, 1))

        creator = module(forward, lambda nn: nn.Linear(1, classes))
        return world.estimator(creator, **{"loss": loss, **more})

    def outputs(keras: Any, inputs: list[Any]) -> Any:
        return keras.layers.Dense(classes, activation="softmax")(inputs[0])

    compiled = {"loss": "sparse_categorical_crossentropy", **more}
    return world.estimator(keras_model(world, (1,), outputs=outputs, **compiled))


def of_inputs(world: World, *shapes: tuple[int, ...]) -> Any:
    """Return an estimator of a model with inputs of these shapes."""
    if world.framework == "torch":
        if len(shapes) == 1:
            width = shapes[0][0]
            return world.estimator(
                module(lambda self, a: self.layer(a)[:, 0], lambda nn: nn.Linear(width, 1))
            )
        return world.estimator(module(lambda self, a, b: self.layer(a[:, None])[:, 0] + b))
    return world.estimator(keras_model(world, *shapes))


def two_outputs(world: World) -> Any:
    """Return an estimator of a model with two outputs."""
    if world.framework == "torch":
        return world.estimator(module(lambda self, x: (self.layer(x[:, None]), x)))

    def outputs(keras: Any, inputs: list[Any]) -> Any:
        return [keras.layers.Dense(1, name=name)(inputs[0]) for name in ("stars", "click")]

    return world.estimator(keras_model(world, (1,), outputs=outputs))


# Columns for inputs.


@case("more columns than inputs")
def _(world: World) -> Any:
    return world.fit(of_inputs(world, (1,), (1,)), feature_cols=["x", "y", "label"])


@case("fewer columns than inputs")
def _(world: World) -> Any:
    return world.fit(of_inputs(world, (1,), (1,)), feature_cols=["x"])


@case("columns of numbers for one input of as many")
def _(world: World) -> Any:
    return world.fit(of_inputs(world, (3,)), feature_cols=["x", "y", "label"])


@case("an array of another length than the input's")
def _(world: World) -> Any:
    return world.fit(of_inputs(world, (3,)), feature_cols=["pair"])


@case("a flat array that is no picture of the input's size", frameworks=KERAS)
def _(world: World) -> Any:
    return world.fit(of_inputs(world, (28, 28, 1)), feature_cols=["pair"])


@case("a binary column as a feature")
def _(world: World) -> Any:
    pictures = world.frame.withColumn("picture", F.encode("user", "utf-8"))
    return world.fit(data=pictures, feature_cols=["picture"])


@case("strings for an input of numbers", frameworks=KERAS)
def _(world: World) -> Any:
    return world.fit(feature_cols=["user"])


@case("whole numbers for a layer of floats", frameworks=TORCH)
def _(world: World) -> Any:
    return world.fit(feature_cols=["label"])


@case("feature_cols by names that the model does not have")
def _(world: World) -> Any:
    return world.fit(of_inputs(world, (1,), (1,)), feature_cols={"a": "x", "bb": "y"})


@case("an id outside its embedding", frameworks=("tf2", "torch"))
def _(world: World) -> Any:
    ids = world.frame.withColumn("x", F.col("x").cast("int"))
    if world.framework == "torch":
        creator = module(lambda self, x: self.layer(x)[:, 0], lambda nn: nn.Embedding(3, 1))
        return world.fit(world.estimator(creator), data=ids)

    def outputs(keras: Any, inputs: list[Any]) -> Any:
        return keras.layers.Flatten()(keras.layers.Embedding(3, 1)(inputs[0]))

    creator = keras_model(world, (1,), outputs=outputs, dtype="int32")
    return world.fit(world.estimator(creator), data=ids)


@case("a broken JPEG", frameworks=("tf2",))
def _(world: World) -> Any:
    def outputs(keras: Any, inputs: list[Any]) -> Any:
        import tensorflow as tf

        def decoded(rows: Any) -> Any:
            def one(row: Any) -> Any:
                picture = tf.image.resize(tf.io.decode_jpeg(row[0], channels=1), (2, 2))
                return tf.reshape(picture, (4,))

            return tf.map_fn(one, rows, fn_output_signature=tf.TensorSpec((4,), tf.float32))

        return keras.layers.Dense(1)(keras.layers.Lambda(decoded, output_shape=(4,))(inputs[0]))

    pictures = world.frame.withColumn("picture", F.encode("user", "utf-8"))
    creator = keras_model(world, (1,), outputs=outputs, dtype="string")
    return world.fit(world.estimator(creator), data=pictures, feature_cols=["picture"])


# Labels and losses.


@case("strings as labels")
def _(world: World) -> Any:
    return world.fit(classifier(world), label_cols=["user"])


@case("strings as labels of a regression", frameworks=("tf2",))
def _(world: World) -> Any:
    return world.fit(label_cols=["user"])


@case("labels outside the classes")
def _(world: World) -> Any:
    return world.fit(classifier(world, 2), label_cols=["label"])


@case("labels that are no classes")
def _(world: World) -> Any:
    return world.fit(classifier(world), label_cols=["y"])


@case("no label columns")
def _(world: World) -> Any:
    return world.fit(label_cols=None)


@case("two label columns for one output")
def _(world: World) -> Any:
    return world.fit(label_cols=["y", "label"])


@case("label_cols by names that the model does not have")
def _(world: World) -> Any:
    return world.fit(label_cols={"stars": "y"})


@case("categorical_crossentropy with numbers of classes", frameworks=KERAS)
def _(world: World) -> Any:
    return world.fit(classifier(world, loss="categorical_crossentropy"), label_cols=["label"])


@case("an array as the label of one output", frameworks=TORCH)
def _(world: World) -> Any:
    return world.fit(label_cols=["pair"])


@case("one output a row of shape (batch, 1), labels of shape (batch)", frameworks=TORCH)
def _(world: World) -> Any:
    return world.fit(world.estimator(module(lambda self, x: self.layer(x[:, None]))))


@case("whole numbers as labels of BCELoss", frameworks=TORCH)
def _(world: World) -> Any:
    def loss(config: Any) -> Any:
        import torch

        return torch.nn.BCELoss()

    return world.fit(world.estimator(loss=loss), label_cols=["label"])


@case("weights of a class that is not there", frameworks=KERAS)
def _(world: World) -> Any:
    return world.fit(classifier(world), label_cols=["label"], class_weight={0: 1.0, 7: 2.0})


@case("sample weights of an output that is not there", frameworks=KERAS)
def _(world: World) -> Any:
    return world.fit(two_outputs(world), label_cols=["x", "y"], sample_weight_col={"star": "y"})


@case("a dict of sample weights", frameworks=TORCH)
def _(world: World) -> Any:
    return world.fit(sample_weight_col={"out": "y"})


# What makes models.


@case("a creator that returns None")
def _(world: World) -> Any:
    return world.fit(world.estimator(lambda config: None))


@case("a creator that returns something else")
def _(world: World) -> Any:
    return world.fit(world.estimator(lambda config: {"layers": 3}))


@case("a model that is not compiled", frameworks=KERAS)
def _(world: World) -> Any:
    package = "tf_keras" if world.framework == "tf2" else "keras"

    def creator(config: Any) -> Any:
        keras = importlib.import_module(package)
        return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])

    return world.fit(world.estimator(creator))


@case("a metric that is not there")
def _(world: World) -> Any:
    if world.framework == "torch":
        return world.fit(world.estimator(metrics=["acuracy"]))
    return world.fit(world.estimator(keras_model(world, (1,), metrics=["acuracy"])))


@case("a loss that is not there", frameworks=KERAS)
def _(world: World) -> Any:
    return world.fit(world.estimator(keras_model(world, (1,), loss="mean_sqared_error")))


@case("a backend of Keras that is not there", frameworks=("keras",))
def _(world: World) -> Any:
    return world.estimator(keras_backend="mxnet")


@case("a callback of the other Keras", frameworks=("tf2",))
def _(world: World) -> Any:
    import keras

    return world.fit(callbacks=[keras.callbacks.Callback()])


@case("no optimizer", frameworks=TORCH)
def _(world: World) -> Any:
    return world.fit(world.estimator(optimizer=None))


@case("no loss", frameworks=TORCH)
def _(world: World) -> Any:
    return world.fit(world.estimator(loss=None))


@case("an optimizer of another model's parameters", frameworks=TORCH)
def _(world: World) -> Any:
    import torch

    optimizer = torch.optim.SGD(torch_model({}).parameters(), lr=0.01)
    return world.estimator(torch_model({}), optimizer=optimizer)


@case("a creator of a schedule that returns None", frameworks=TORCH)
def _(world: World) -> Any:
    return world.fit(world.estimator(scheduler_creator=lambda optimizer, config: None))


@case("a schedule that steps neither by epoch nor by batch", frameworks=TORCH)
def _(world: World) -> Any:
    return world.estimator(scheduler_step_freq="epochs")


@case("a forward that fails in a line of its own", frameworks=TORCH)
def _(world: World) -> Any:
    return world.fit(world.estimator(module(lambda self, x: self.layr(x))))


# Predictions.


@case("predictions of columns that are not there")
def _(world: World) -> Any:
    return world.estimator().predict(world.frame, feature_cols=["user_id"])


@case("predictions of no columns")
def _(world: World) -> Any:
    return world.estimator().predict(world.frame)


@case("too few output_cols")
def _(world: World) -> Any:
    return two_outputs(world).predict(world.frame, feature_cols=["x"], output_cols=["stars"])


@case("output_cols by names that the model does not have")
def _(world: World) -> Any:
    names = {"star": "p", "click": "q"}
    return two_outputs(world).predict(world.frame, feature_cols=["x"], output_cols=names)


@case("three predictions a row", connect="keras")
def _(world: World) -> Any:
    if world.framework == "torch":
        est = world.estimator(module(lambda self, x: x.repeat(3)))
    else:

        def outputs(keras: Any, inputs: list[Any]) -> Any:
            three = keras.layers.Dense(3)(inputs[0])
            if hasattr(keras, "ops"):
                return keras.ops.reshape(three, (-1, 1))
            import tensorflow as tf

            return tf.reshape(three, (-1, 1))

        est = world.estimator(keras_model(world, (1,), outputs=outputs))
    return est.predict(world.frame, feature_cols=["x"]).collect()


@case("a ragged output", frameworks=("tf2",))
def _(world: World) -> Any:
    def outputs(keras: Any, inputs: list[Any]) -> Any:
        import tensorflow as tf

        return keras.layers.Lambda(lambda x: tf.RaggedTensor.from_tensor(x, padding=0.0))(inputs[0])

    est = world.estimator(keras_model(world, (1,), outputs=outputs))
    return est.predict(world.frame, feature_cols=["x"])


# Files.


@case("save under another framework's ending")
def _(world: World) -> Any:
    est = world.estimator()
    world.fit(est)
    ending = ".keras" if world.framework == "torch" else ".pt"
    return est.save(str(world.directory / f"model{ending}"))


@case("load of a state of another framework")
def _(world: World) -> Any:
    est = world.estimator()
    world.fit(est)
    est.save(str(world.directory / "of-another"))
    other = "tf2" if world.framework == "torch" else "torch"
    return replace(world, framework=other).estimator().load(str(world.directory / "of-another"))


@case("load into a model of other shapes")
def _(world: World) -> Any:
    est = world.estimator()
    world.fit(est)
    est.save(str(world.directory / "smaller"))
    wider = classifier(world)
    wider.load(str(world.directory / "smaller"))
    return world.fit(wider, label_cols=["label"])
