"""What stages of Keras models have beside the others, and how their estimators are made."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from pyspark.ml.param import Param, Params

from zoo.orca.learn.keras.backend import BACKENDS, checked_backend
from zoo.orca.ml.params import one_of
from zoo.orca.ml.stages import OfFramework

#: Keras 2, as in `zoo.orca.learn.tf2`.
KERAS_2 = "tf2"


class KerasParams(OfFramework):
    """The parameters of stages of Keras models."""

    backend: Param[str] = Param(
        Params._dummy(),
        "backend",
        f"what Keras 3 computes with, one of {BACKENDS}, or {KERAS_2!r} for Keras 2 on "
        "TensorFlow; by default the backend that Keras is set to",
        typeConverter=one_of(*BACKENDS, KERAS_2),
    )
    compileArgsCreator: Param[Any] = Param(
        Params._dummy(),
        "compileArgsCreator",
        "compile_args_creator(config), which returns the arguments of Model.compile",
    )
    _creation: ClassVar[dict[str, str]] = {
        **OfFramework._creation,
        "model_creator": "modelCreator",
        "compile_args_creator": "compileArgsCreator",
        "keras_backend": "backend",
        "backend": "backend",
    }
    _code: ClassVar[tuple[str, ...]] = ("modelCreator", "compileArgsCreator")

    def getBackend(self) -> str:
        """Return what Keras computes with."""
        found: str | None = self._optional(self.backend)
        return checked_backend(None) if found is None else found

    def setBackend(self, value: str) -> Self:
        """Set what Keras computes with: "jax", "tensorflow", "torch", or "tf2" for Keras 2."""
        return self._set(backend=value)

    def getCompileArgsCreator(self) -> Any:
        """Return the function that returns the arguments of `compile`; None if there is none."""
        return self._optional(self.compileArgsCreator)

    def setCompileArgsCreator(self, value: Any) -> Self:
        """Set ``compile_args_creator(config)``, for creators that do not compile."""
        return self._set(compileArgsCreator=value)

    def _settled(self) -> dict[str, Any]:
        # Another program that reads the model may have its Keras set to another backend.
        return {"backend": self.getBackend()}

    def _creator(self) -> Callable[..., Any]:
        # Not above: importing it sets which Keras `tensorflow.keras` is in this process.
        if self.getBackend() == KERAS_2:
            from zoo.orca.learn import tf2

            return tf2.Estimator.from_keras
        from zoo.orca.learn import keras

        return keras.Estimator.from_keras

    def _create(self, given: dict[str, Any]) -> Any:
        given |= {
            "model_creator": self.getModelCreator(),
            "compile_args_creator": self.getCompileArgsCreator(),
        }
        if self.getBackend() != KERAS_2:
            given["keras_backend"] = self.getBackend()
        return self._creator()(**given)
