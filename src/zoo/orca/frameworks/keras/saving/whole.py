"""A model's own file in place of a creator, and what it may name without running code.

The driver imports this module, too, and has no framework.
"""

import builtins
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.orca.errors import InvalidInputError, ModelError, OrcaError
from zoo.orca.frameworks.keras.saving.checked import check_file
from zoo.orca.frameworks.keras.types import Model
from zoo.orca.wire.packing import unpack
from zoo.orca.wire.saved.values import Unsound

#: The kind of a directory that TensorFlow writes; files go by their ending.
SAVED_MODEL = "SavedModel"
#: Packages whose classes and functions a file may name.
_KERAS = ("keras", "tf_keras")
#: Names of losses that Keras 3 takes in `compile`, writes into an .h5 file, and cannot read there.
_LOSSES = {
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mse": "mean_squared_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeModel:
    """Makes the model that a file holds; stands for the user's `model_creator`.

    Parameters
    ----------
    path : str
        Where the file was, for errors.
    call : str
        What the user has called, for errors.
    kind : str
        ".keras", ".h5" or `SAVED_MODEL`.
    framework : str
        The plug-in: "tf2" takes the version of Keras that wrote the file, "keras" always Keras 3.
    legacy : bool
        Whether `tensorflow.keras` is Keras 2, for a file that does not say.
    files : dict of str to bytes
        The file's content; or each file's of the directory, by its name within.
    custom_objects : bytes or None
        The user's packed classes and functions by name.
    compile : bool
        Whether to compile the model as it was.
    safe_mode : bool
        Whether to refuse what holds code.
    """

    path: str
    call: str = "load"
    kind: str
    framework: str
    legacy: bool = False
    files: Mapping[str, bytes]
    custom_objects: bytes | None = None
    compile: bool = True
    safe_mode: bool = True

    def __call__(self, config: object) -> Any:
        """Return the model; called where the framework is imported."""
        own: dict[str, Any] = unpack(self.custom_objects) if self.custom_objects else {}
        with tempfile.TemporaryDirectory(prefix="orca-keras-") as directory:
            local = self.written_to(directory)
            own = self.checked(local, own)
            try:
                return self._load(local, own)
            except (OrcaError, ImportError):
                raise
            except Exception as error:  # whatever Keras, or a class of the user, says of a file
                told = " ".join(str(error).split())[:500] or type(error).__name__
                raise ModelError(
                    f"{self.path} cannot be loaded: {told}\nIf it has classes or functions of your "
                    f"own, pass {self.call}(path, custom_objects={{'Name': Name}}); compile=False "
                    "leaves out its loss and metrics"
                ) from error

    def written_to(self, directory: str) -> str:
        """Write the content into a directory; return its path there, with the kind's ending."""
        if self.kind == SAVED_MODEL:
            for name, data in self.files.items():
                place = Path(directory, "model", name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            return str(Path(directory, "model"))
        place = Path(directory, f"model{self.kind}")
        place.write_bytes(next(iter(self.files.values())))
        return str(place)

    def checked(self, local: str, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return `custom_objects` under all names that the file has for them.

        Raises
        ------
        ModelError
            If the file is damaged, holds code, or names what is not among them.
        """
        if self.kind == SAVED_MODEL:
            return dict(own)
        try:
            check_file(local)
            configurations = list(_configurations(local, self.compile))
        except (zipfile.BadZipFile, OSError, KeyError, ValueError, Unsound) as error:
            raise ModelError(
                f"{self.path} is no model of Keras: {error}\n"
                "Write one with model.save(path), or load another copy of it"
            ) from error
        found = dict(own)
        for node in _nodes(configurations):
            self._check(node, found)
        return found

    def _check(self, node: dict[str, Any], own: dict[str, Any]) -> None:
        """Check what one object of a file is made by; add the file's name for one of the user's."""
        name = node.get("class_name")
        if not isinstance(name, str):
            return
        if name in ("__lambda__", "Lambda") and self.safe_mode and name not in own:
            raise ModelError(
                f"{self.path} has a Lambda layer, whose code would run here\n"
                f"If you trust who wrote the file, pass {self.call}(path, safe_mode=False)"
            )
        registered, module = node.get("registered_name"), node.get("module")
        called = str(node.get("config")) if name == "function" else name
        if called in own:
            if isinstance(registered, str):
                own.setdefault(registered, own[called])
            return
        if registered in own or not isinstance(module, str):
            return
        is_python = module == "builtins" and hasattr(builtins, called)
        if module.partition(".")[0] in (*_KERAS, "builtins") and not is_python:
            return
        raise ModelError(
            f"{self.path} is made with {called!r} of {module!r}, which is not Keras's\n"
            f"Pass it: {self.call}(path, custom_objects={{{called!r}: {called}}})"
        )

    def _load(self, local: str, own: dict[str, Any]) -> Any:
        if self._is_of_keras_2(local):
            import tf_keras
            from tf_keras.src.saving.serialization_lib import SafeModeScope

            # Only the format .keras has an argument for it.
            with SafeModeScope(safe_mode=self.safe_mode):
                model = tf_keras.models.load_model(local, custom_objects=own, compile=self.compile)
            if self.kind == SAVED_MODEL and getattr(model, "optimizer", None) is not None:
                _read_optimizer(model, local)
            return model
        if self.kind == SAVED_MODEL:
            raise InvalidInputError(
                f"{self.path} is a SavedModel, which only Keras 2 loads\n"
                "Leave TF_USE_LEGACY_KERAS=0 out, or save the model as .keras"
            )
        import keras

        if self.kind == ".h5" and self.compile:
            _spell_losses(local, own)
        return keras.models.load_model(
            local, custom_objects=own, compile=self.compile, safe_mode=self.safe_mode
        )

    def _is_of_keras_2(self, local: str) -> bool:
        if self.framework == "keras":
            return False
        found = "" if self.kind == SAVED_MODEL else _version(local)
        return found.startswith("2") if found else self.legacy


def _spell_losses(local: str, own: Mapping[str, Any]) -> None:
    """Write losses into a file, which is our own copy, by the names that Keras 3 can read."""
    import h5py

    settings = json.loads(_attribute(local, "training_config") or "{}")
    if "loss" in settings:
        names = {short: name for short, name in _LOSSES.items() if short not in own}
        settings["loss"] = _spelled(settings["loss"], names)
        with h5py.File(local, "r+") as file:
            file.attrs["training_config"] = json.dumps(settings)


def _spelled(loss: Any, names: Mapping[str, str]) -> Any:
    if isinstance(loss, str):
        return names.get(loss.lower(), loss)
    if isinstance(loss, list):
        return [_spelled(one, names) for one in loss]
    if isinstance(loss, dict) and "class_name" not in loss:  # by the names of outputs
        return {output: _spelled(one, names) for output, one in loss.items()}
    return loss


def _read_optimizer(model: Model, directory: str) -> None:
    """Read the optimizer's variables of a SavedModel, which Keras makes anew."""
    import tensorflow as tf

    from zoo.orca.frameworks.keras.versions import keras2

    keras2.build_optimizer(model.optimizer, model.trainable_variables)
    checkpoint = tf.train.Checkpoint(root=model, optimizer=model.optimizer)
    checkpoint.restore(f"{directory}/variables/variables").expect_partial()


def _version(local: str) -> str:
    """Return the version of Keras that wrote a file; empty if it does not say."""
    if local.endswith(".keras"):
        with zipfile.ZipFile(local) as archive:
            if "metadata.json" not in archive.namelist():
                return ""
            return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
    return _attribute(local, "keras_version")


def _attribute(local: str, name: str) -> str:
    """Return a text that an .h5 file has for itself; empty if it has none."""
    import h5py

    with h5py.File(local, "r") as file:
        found = file.attrs.get(name, "")
        return found.decode() if isinstance(found, bytes) else str(found)


def _configurations(local: str, compiled: bool) -> Iterator[Any]:
    """Yield what a file says of the model's parts, as plain values."""
    if local.endswith(".keras"):
        with zipfile.ZipFile(local) as archive:
            found = json.loads(archive.read("config.json"))
        if not compiled:
            found.pop("compile_config", None)
        yield found
        return
    model = _attribute(local, "model_config")
    if not model:
        raise Unsound("holds weights, and not the model that they are of")
    yield json.loads(model)
    if compiled:
        yield json.loads(_attribute(local, "training_config") or "{}")


def _nodes(value: object) -> Iterator[dict[str, Any]]:
    """Yield every dict of nested plain values; not recursive, because they may be nested deep."""
    left: list[Any] = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
