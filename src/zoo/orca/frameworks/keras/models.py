"""The user's model: made by the creator, matched to its Keras version, built and queried."""

import functools
import importlib
import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import MissingPackageError, ModelError
from zoo.orca.frameworks.common.input_shapes import Input
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.creators.seeds import seed_all
from zoo.orca.frameworks.keras.backends.chosen import backend_of
from zoo.orca.frameworks.keras.columns.inputs import InputLayout
from zoo.orca.frameworks.keras.columns.names import Names, by_output, one_label
from zoo.orca.frameworks.keras.loaders.layout import LoaderLayout
from zoo.orca.frameworks.keras.protocols import Backend, Version
from zoo.orca.frameworks.keras.types import Model, Optimizer, Tensor, Variable
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import Job
from zoo.orca.wire.packing import unpack


def kinds() -> list[Version]:
    """Return the modules of this package for the Keras versions that this process has imported."""
    found: list[Version] = []
    if sys.modules.get("tf_keras"):
        from zoo.orca.frameworks.keras.versions import keras2

        found.append(keras2)
    if sys.modules.get("keras"):
        from zoo.orca.frameworks.keras.versions import keras3

        # Not if `keras` is TensorFlow's stub, or is itself version 2.
        if hasattr(keras3.package(), "KerasTensor") and hasattr(keras3.package(), "ops"):
            found.append(keras3)
    return found


def begin(seed: int) -> list[Version]:
    """Reset this process to a fresh state, because a child serves several jobs.

    Returns
    -------
    list
        The Keras versions that were seeded.
    """
    known = kinds()
    for name in {keras.backend_name() for keras in known}:
        backend_of(name).begin(seed)
    for keras in known:
        keras.begin()
        keras.make_random(seed)
    seed_all(seed)  # torch, too, which a loader may use
    return known


class KerasModel:
    """A model that a job's creator made.

    Attributes
    ----------
    model : Model
        Of Keras 2 or 3.
    keras : Version
        The Keras version that the model belongs to: `zoo.orca.frameworks.keras.versions.keras2` or
        `keras3`.
    backend : Backend
        The backend that the model computes with:
        `zoo.orca.frameworks.keras.backends.on_tensorflow`, `on_jax` or `on_torch`.
    framework : str
        The plug-in that the job names.
    built_with : int or None
        How many rows built the model; None: it declares its inputs, or is not built.

    Parameters
    ----------
    job : Job
    fresh_process : bool
        Whether this process is a child's, to be reset first. The caller's own process is left as it
        is.
    """

    def __init__(self, job: Job, *, fresh_process: bool = True) -> None:
        config = unpack(job.model.config)
        creator = unpack(job.model.creator)
        create = partial(_called, creator, config)
        self.model: Model = _create(create, job.seed) if fresh_process else create()
        self.framework = job.model.framework
        self.built_with: int | None = None
        self._shapes_built: list[tuple[int | None, ...] | None] = []
        wanted = os.environ.get("KERAS_BACKEND") if fresh_process else None
        self.keras: Version = _kind_of(self.model, self.framework, wanted)
        self.backend: Backend = backend_of(self.keras.backend_name())
        if job.model.compile_args is not None:
            self.model.compile(**unpack(job.model.compile_args)(config))

    def require_compiled(self, what: str) -> None:
        """Raise unless the model is compiled.

        Raises
        ------
        ModelError
            The message has both ways to compile it.
        """
        if not self.keras.is_compiled(self.model):
            raise ModelError(
                f"the model is not compiled, and {what} needs it to be\nCall model.compile(...) in "
                "model_creator, or pass compile_args_creator"
            )
        if unknown := self.keras.unknown_metric(self.model):
            raise ModelError(
                f"the metric {unknown!r} is none that Keras has\n"
                "Name another, or pass a metric or a function to compile"
            )

    def require_optimizer(self) -> None:
        """Raise if training by Keras's own step has no optimizer.

        Raises
        ------
        ModelError
            The message has the argument to write.
        """
        if self.model.optimizer is None and not self.keras.has_own_step(self.model):
            raise ModelError(
                "the model is compiled without an optimizer, and fit needs one\n"
                "Name one: model.compile(optimizer='adam', ...)"
            )

    def require_no_labels(self, what: str) -> None:
        """Raise if the model's losses need labels, but there are none.

        Raises
        ------
        ModelError
            The message has the argument to write.
        """
        losses = [one for one in self.keras.loss_objects(self.model) if one is not None]
        if losses and not self.keras.has_own_step(self.model):
            raise ModelError(
                f"{what} has no label_cols, and the model is compiled with a loss, which compares "
                f"outputs with labels\nName the columns of the labels: {what}(..., "
                "label_cols=['label'])"
            )

    def layout(self, spec: FeatureSpec) -> InputLayout:
        """Return how columns become this model's batches; refuse columns that do not fit."""
        structure = self.keras.input_structure(self.model)
        if structure is None:
            return InputLayout(spec, None, None)
        tensors = self.keras.flatten(structure)
        inputs = [
            Input(
                name=self.keras.input_name(t), shape=tuple(t.shape), dtype=self.keras.dtype_name(t)
            )
            for t in tensors
        ]
        labelled = self._labelled()
        if labelled is None and not self.keras.has_own_step(self.model):
            outputs = self.keras.flatten(self.keras.output_structure(self.model))
            one_label(spec, len(outputs))
        # A dict, too: on torch, Keras 3 takes the values of an OrderedDict in their own order.
        nested = functools.partial(self.keras.packed, structure) if _is_nested(structure) else None
        return InputLayout(spec, inputs, self.keys_of(structure), labelled, nested)

    def keys_of(self, structure: Structure) -> list[str] | None:
        """Return the keys of a dict in Keras's flattening order; None: it is none, or is nested."""
        if not isinstance(structure, dict) or any(_is_container(v) for v in structure.values()):
            return None
        # Not the order of a plain dict: an OrderedDict may have another.
        places = self.keras.packed(structure, list(range(len(structure))))
        return [str(key) for key in sorted(places, key=places.__getitem__)]

    def _labelled(self) -> Names | None:
        """Return the outputs' names if labels belong to outputs; None if that is unknown."""
        if self.keras.has_own_step(self.model):
            return None
        structure = self.keras.output_structure(self.model)
        keys = self.keys_of(structure)
        # A Keras 3 Sequential has no name for its one output.
        names = keys or getattr(self.model, "output_names", None)
        if not names:
            return None
        losses = by_output(self.keras.compiled_losses(self.model), names)
        lossy = [name for name, loss in zip(names, losses, strict=True) if loss is not None]
        told = len(names) > 1 and len(lossy) == 1
        return Names(names=tuple(names), keyed=keys is not None, only=lossy[0] if told else None)

    @property
    def is_static(self) -> bool:
        """Whether the model knows its inputs, and so is built, before it sees a batch."""
        return self.keras.input_structure(self.model) is not None

    def build(
        self, layout: InputLayout | LoaderLayout, features: Mapping[str, NDArray[Any]]
    ) -> Structure:
        """Call a model that is built by its first batch; return, and note, what its outputs are.

        Parameters
        ----------
        layout : InputLayout or LoaderLayout
        features : dict of str to array
            Some rows of the inputs, as from `InputLayout.feature_arrays`.
        """
        tensors = {name: self.backend.tensor(values) for name, values in features.items()}
        answer = self.model(layout.pack_features(tensors))
        self.built_with = len(next(iter(features.values())))
        self._shapes_built = [self.keras.shape_of(one) for one in self.keras.flatten(answer)]
        return answer

    def output_shapes(self) -> list[tuple[int | None, ...] | None]:
        """Return each output's shape of a built model; None if even the number of axes is unknown.

        A model that does not declare them has those of the rows that built it.
        """
        if not self.is_static:
            return self._shapes_built
        tensors = self.keras.flatten(self.keras.output_structure(self.model))
        return [self.keras.shape_of(tensor) for tensor in tensors]

    def optimizers(self) -> dict[str, Optimizer]:
        """Return every optimizer by its place: "" is the compiled one, else an attribute."""
        found: dict[str, Optimizer] = {}
        seen: set[int] = set()
        places = [("", getattr(self.model, "optimizer", None))]
        for number, layer in enumerate(self.model._flatten_layers()):
            prefix = f"{number}." if number else ""
            places += [
                (f"{prefix}{name}", value)
                for name, value in vars(layer).items()
                if not name.startswith("_self_")  # TensorFlow's records of the same objects
            ]
        for name, value in places:
            members = _members(value)
            for k, member in enumerate(members):
                if id(member) not in seen and self.keras.is_optimizer(member):
                    seen.add(id(member))
                    found[name if len(members) == 1 else f"{name}.{k}"] = member
        return found

    @functools.cached_property
    def trainable_variables(self) -> list[Variable]:
        """The variables that training began with; a callback may freeze some later.

        First read after the model is built.
        """
        return list(self.model.trainable_variables)

    @property
    def weights(self) -> list[Variable]:
        """All variables of the model's layers.

        Keras 2 counts vocabularies among a model's weights, too.
        """
        return [one for one in self.model.weights if self.keras.is_variable(one)]

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The variables that no optimizer changes, including the metrics' own.

        Not those that a callback froze: gradients moved them, so they are equal on all ranks.
        """
        moved = {id(variable) for variable in self.trainable_variables}
        found = self.model.non_trainable_variables
        return [one for one in found if self.keras.is_variable(one) and id(one) not in moved]

    def metric_variables(self) -> list[Variable]:
        """Return the variables of all existing metrics."""
        return [variable for metric in self.model.metrics for variable in metric.variables]

    def statistics(self) -> list[Variable]:
        """Return the floating-point variables that training changes without gradients."""
        metrics = {id(variable) for variable in self.metric_variables()}
        return [
            variable
            for variable in self.non_trainable_variables
            if self.is_floating(variable) and id(variable) not in metrics
        ]

    def is_floating(self, variable: Tensor) -> bool:
        """Whether a variable or tensor holds floating-point numbers of any width."""
        return "float" in str(self.keras.dtype_name(variable))

    def numpy_dtype(self, variable: Variable) -> np.dtype[Any]:
        """Return the numpy dtype of a variable; bfloat16 and similar types come from ml_dtypes."""
        found: np.dtype[Any] = np.dtype(self.keras.dtype_name(variable))
        return found


def _is_nested(structure: Structure) -> bool:
    """Whether inputs are a dict, or in nested lists."""
    return isinstance(structure, dict) or (
        _is_container(structure) and any(_is_container(part) for part in structure)
    )


def _is_container(value: object) -> bool:
    return isinstance(value, (dict, list, tuple))


def legacy_keras() -> bool:
    """Whether `tensorflow.keras` means `tf_keras`, by TensorFlow's own rule."""
    return os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true")


def _called(creator: Callable[[Any], Any], config: object) -> Any:
    try:
        return creator(config)
    except ImportError as error:
        # TensorFlow's own error for a missing tf_keras names no package.
        is_keras2 = error.name == "tf_keras" or (error.name is None and legacy_keras())
        if not is_keras2 or importlib.util.find_spec("tf_keras") is not None:
            raise
        raise MissingPackageError(
            f"the package 'tf_keras' (Keras 2) is not installed on {socket.gethostname()}, and "
            "model_creator uses it\nInstall it there: pip install 'zoo-orca[tf2]' into its Python"
        ) from error


def _create(create: Callable[[], Any], seed: int) -> Any:
    known = begin(seed)
    model = create()
    if kinds() == known:
        return model
    # The creator imported a Keras that could not be seeded before. The model is made again, as warm
    # children will, so that equal seeds give equal models.
    begin(seed)
    return create()


def _members(value: object) -> list[Any]:
    """Return an attribute's members: optimizers may be alone, in lists or in dicts."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _kind_of(model: object, framework: str, wanted: str | None) -> Version:
    for keras in kinds():
        if isinstance(model, keras.package().Model):
            keras.check_backend(framework, wanted if framework == "keras" else None)
            return keras
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    raise ModelError(
        f"model_creator returned {'None' if model is None else f'a {kind}'}, not a Keras model\n"
        "End it with `return model`, a model of tf_keras (Keras 2) or keras (Keras 3)"
    )


def value_of(variable: Variable) -> NDArray[Any]:
    """Return a variable's value as a numpy array."""
    return np.asarray(variable.numpy())
