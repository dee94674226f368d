"""What a Keras model's outputs are: logits or probabilities."""

import pytest

from tests.frameworks.ranks import Ranks

pytestmark = pytest.mark.timeout(120)

#: Loss, whether it says logits (None: by name), the last layer's activation, and the scale.
CASES = [
    ("SparseCategoricalCrossentropy", True, None, "logits"),
    ("SparseCategoricalCrossentropy", False, "softmax", "probabilities"),
    ("CategoricalCrossentropy", True, None, "logits"),
    ("BinaryCrossentropy", True, None, "logits"),
    ("BinaryCrossentropy", False, "sigmoid", "probabilities"),
    ("sparse_categorical_crossentropy", None, "softmax", "probabilities"),
    ("binary_crossentropy", None, "sigmoid", "probabilities"),
    ("bce", None, "sigmoid", "probabilities"),
    ("hinge", None, None, None),
    ("mse", None, None, None),
    ("mse", None, "sigmoid", "probabilities"),
    ("mse", None, "log_softmax", "logarithms"),
    (None, None, "softmax", "probabilities"),
    ("own", None, None, None),
    ("own", None, "softmax", "probabilities"),
]


def scales(number, cases):
    """The scale of each case's model, in a process that may import Keras."""
    from tests.frameworks.models import keras_of
    from zoo.orca.frameworks.keras.models import KerasModel
    from zoo.orca.frameworks.keras.scales import scales_of
    from zoo.orca.wire.features import FeatureSpec
    from zoo.orca.wire.job import Job, ModelSpec
    from zoo.orca.wire.packing import pack

    keras = keras_of({"keras": number})
    found = []
    for loss, logits, activation, _ in cases:

        def creator(config, loss=loss, logits=logits, activation=activation):
            if loss == "own":
                loss = lambda y, p: keras.losses.mean_squared_error(y, p)  # noqa: E731
            elif logits is not None:
                loss = getattr(keras.losses, loss)(from_logits=logits)
            x = keras.Input((4,))
            model = keras.Model(x, keras.layers.Dense(3, activation=activation)(x))
            if loss is not None:
                model.compile("sgd", loss)
            return model

        spec = ModelSpec(
            framework="tf2" if number == 2 else "keras",
            creator=pack(creator, "model_creator"),
            config=pack({}, "config"),
        )
        made = KerasModel(
            Job(model=spec, columns=FeatureSpec(features=()), state=None, seed=0),
            fresh_process=False,
        )
        found += scales_of(made, ["output"])
    return found


@pytest.mark.parametrize("number", [2, 3])
def test_the_loss_says_it_or_else_the_last_layer(ranks: Ranks, number: int) -> None:
    assert ranks.alone(scales, number, CASES) == [scale for *_, scale in CASES]


def two_outputs(number):
    from tests.frameworks.models import keras_of
    from zoo.orca.frameworks.keras.models import KerasModel
    from zoo.orca.frameworks.keras.scales import scales_of
    from zoo.orca.wire.features import FeatureSpec
    from zoo.orca.wire.job import Job, ModelSpec
    from zoo.orca.wire.packing import pack

    keras = keras_of({"keras": number})

    def creator(config):
        x = keras.Input((4,))
        a, b = keras.layers.Dense(3, name="a")(x), keras.layers.Dense(1, name="b")(x)
        model = keras.Model(x, [a, b])
        logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", {"a": logits, "b": "mse"})
        return model

    spec = ModelSpec(
        framework="keras" if number == 3 else "tf2",
        creator=pack(creator, "model_creator"),
        config=pack({}, "config"),
    )
    made = KerasModel(
        Job(model=spec, columns=FeatureSpec(features=()), state=None, seed=0), fresh_process=False
    )
    return scales_of(made, ["a", "b"])


@pytest.mark.parametrize("number", [2, 3])
def test_each_output_has_its_own(ranks: Ranks, number: int) -> None:
    assert ranks.alone(two_outputs, number) == ["logits", None]
