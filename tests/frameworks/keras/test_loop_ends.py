"""A `fit` of two loops of Keras's: each of its ends once, whoever has the method."""

from typing import Any

from zoo.orca.frameworks.keras.loop_ends import beginnings_of, ends_of, without


class Writes:
    """A callback that writes down when it is called."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def on_train_begin(self, logs: Any = None) -> None:
        self.told.append("begin")

    def on_train_end(self, logs: Any = None) -> None:
        self.told.append("end")


class Lambda(Writes):
    """As Keras's own, it has its method itself."""

    def __init__(self, told: list[str]) -> None:
        super().__init__(told)
        self.on_train_end = lambda logs=None: told.append("lambda")  # type: ignore[method-assign]


class Averages:
    """An optimizer that does not like to be given anything."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def __setattr__(self, name: str, value: Any) -> None:
        assert name == "told"
        super().__setattr__(name, value)

    def finalize_variable_values(self, variables: Any) -> None:
        self.told.append(variables)


class Model:
    trainable_variables = "weights"

    def __init__(self, told: list[str]) -> None:
        self.optimizer = Averages(told)


def test_two_loops_have_one_beginning_and_one_end() -> None:
    told: list[str] = []
    model: Any = Model(told)
    callbacks: list[Any] = [Writes(told), Lambda(told)]

    def loop() -> None:
        for one in callbacks:
            one.on_train_begin()
        model.optimizer.finalize_variable_values(model.trainable_variables)
        for one in callbacks:
            one.on_train_end(logs={})

    ends = ends_of(model, callbacks)
    with without(ends):
        loop()
    assert told == ["begin", "begin"]
    with without(beginnings_of(callbacks)):
        loop()
    assert told[2:] == ["weights", "end", "lambda"]
    for end in ends:
        end.call()
    assert told[5:] == told[2:5]
    loop()
    assert told[8:] == ["begin", "begin", "weights", "end", "lambda"]
