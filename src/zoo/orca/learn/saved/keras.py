"""Estimators of Keras models that are there already: `from_saved`."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from zoo.orca.errors import InvalidInputError, ModelError
from zoo.orca.learn import keras_files as files
from zoo.orca.learn.files.kinds import STATE, keras_kind
from zoo.orca.learn.keras_creation import FromKeras

#: What an object's version of Keras is called for users.
_VERSIONS = {"keras": "Keras 3", "tf_keras": "Keras 2"}


class FromSavedKeras(FromKeras):
    """An estimator that is made of a model, or of a file of one."""

    @classmethod
    def from_saved(
        cls,
        model: Any,
        *,
        custom_objects: Mapping[str, Any] | None = None,
        compile: bool = True,
        safe_mode: bool = True,
        **options: Any,
    ) -> Self:
        """Return an estimator for a model that is there already, trained or not.

        It predicts, and where the model is compiled it evaluates and goes on training, with its
        optimizer's state and learning rate.

        Parameters
        ----------
        model : str, path or keras.Model
            A local path or URL of a ``.keras`` or ``.h5`` file, or of the directory of a SavedModel
            (Keras 2 only); or a model, which goes to the workers as it is now.
        custom_objects : dict, optional
            Classes and functions of your own in the model, by name. The classes of a given model's
            layers need not be named.
        compile : bool
            False leaves out optimizer, loss and metrics.
        safe_mode : bool
            False lets `Lambda` layers run the code that the model has for them.
        **options : object
            As in `from_keras`, for example `num_workers` and `model_dir`; or `compile_args_creator`
            for a model that is not compiled.

        Raises
        ------
        StateError
            If the file cannot be read, or holds code or classes of your own that are not given.
        InvalidInputError
            If `model` is none, or of another version of Keras.
        """
        if "model_creator" in options:
            raise InvalidInputError(
                "from_saved has its model, and takes no model_creator\n"
                "Leave it out, or call from_keras(model_creator=...)"
            )
        est = cls.from_keras(**options)
        given: dict[str, Any] = {"compile": compile, "safe_mode": safe_mode}
        own = dict(custom_objects or {})
        if isinstance(model, (str, os.PathLike)):
            path = os.fspath(model)
            kind, name, data = _kind_of(path), path, None
        else:
            own = _classes(cls._version_of(model), model) | own
            kind, name, data = ".keras", "the model", _written(model)
        job = est._driver_job(checked=False)
        est._use_creator(
            files.whole_model(
                job, name, kind, data=data, call="from_saved", custom_objects=own, **given
            )
        )
        return est

    @classmethod
    def _version_of(cls, model: Any) -> str:
        """Return the package that an object's class is of: "keras", or "tf_keras" for Keras 2."""
        kinds = (kind for kind in type(model).__mro__ if kind.__name__ == "Model")
        version = next((kind.__module__.partition(".")[0] for kind in kinds), "")
        if version not in _VERSIONS:
            shown = f"{type(model).__module__}.{type(model).__qualname__}"
            raise InvalidInputError(
                f"model must be a path or a keras.Model, got {shown.removeprefix('builtins.')}\n"
                "Pass the path of a .keras file, or a model; a function that makes one goes to "
                "from_keras(model_creator=...)"
            )
        if version == "tf_keras" and cls._framework != "tf2":
            raise InvalidInputError(
                "model is of Keras 2, and zoo.orca.learn.keras is for Keras 3\n"
                "Pass it to the Estimator of zoo.orca.learn.tf2"
            )
        return version


def _kind_of(path: str) -> str:
    kind = keras_kind(path)
    if kind == STATE:
        raise InvalidInputError(
            f"{path} is no file of a Keras model: .keras, .h5, or the directory of a SavedModel\n"
            "An estimator's state is read by from_keras(model_creator=...) and load(path)"
        )
    return kind


def _written(model: Any) -> bytes:
    """Return a model as a file of Keras's, which needs none of the program's own code."""
    with tempfile.TemporaryDirectory(prefix="orca-keras-") as directory:
        local = Path(directory, "model.keras")
        try:
            model.save(str(local))
        except Exception as error:  # whatever Keras, or a class of the user, says of a model
            told = " ".join(str(error).split())[:500] or type(error).__name__
            raise ModelError(
                f"the model cannot be saved, as it must be to travel: {told}\n"
                "Build it and give its classes a get_config, or pass a function that makes it: "
                "from_keras(model_creator=...)"
            ) from error
        return local.read_bytes()


def _classes(version: str, model: Any) -> dict[str, Any]:
    """Return the user's own classes of a model and its layers, by name."""
    layers = model._flatten_layers() if hasattr(model, "_flatten_layers") else ()
    kinds = {type(one) for one in (model, *layers)}
    return {kind.__name__: kind for kind in kinds if not kind.__module__.startswith(f"{version}.")}
