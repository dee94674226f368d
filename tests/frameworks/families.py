"""The frameworks that the equalities hold for; a new one joins with an entry.

Creators, and PyTorch's recipes, take ``config["optimizer"]``, a name and arguments as of Keras
("SGD", "Adam"), and what the entry's own `config` has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.frameworks import models, torch_family
from tests.frameworks.ranks import TF2_ENVIRONMENT

Creator = Callable[[dict[str, Any]], Any] | dict[str, Any]


@dataclass(frozen=True)
class Family:
    """How one framework is tested.

    Parameters
    ----------
    framework : str
        The plug-in's name.
    environment : dict
        What ranks must find before they import it.
    config : dict
        For all creators.
    embedding : callable
        Inputs x (4 floats) and u (an id below 500), label y; mean squared error.
    summed : callable
        The same with the sum of squared errors.
    classifier : callable
        Input x, label of three classes.
    batchnorm : callable
        Input x, label y, batch normalisation first.
    two_inputs : callable
        Inputs x and w, labels y and flag, two losses.
    ncf : callable
        Inputs user and item, label of five classes; starts with ``config["weights"]``: tables
        gmf_user, gmf_item, mlp_user, mlp_item, then kernels hidden and out; biases are zeros.
    of_model : callable
        Makes a creator of a function of the config that makes the model.
    callback : callable
        Makes a callback that ends each step with a call of a given function.
    patient : callable
        Makes a callback that stops after three epochs, because the loss of none is enough better.
    bad_index : str or None
        Words of the error for a row that an embedding does not have; None where it is no error.
    class_weights : bool
        Whether jobs may have them.
    """

    framework: str
    environment: Mapping[str, str]
    embedding: Creator
    summed: Creator
    classifier: Creator
    batchnorm: Creator
    two_inputs: Creator
    ncf: Creator
    of_model: Callable[[Callable[[dict[str, Any]], Any]], Creator]
    callback: Callable[[Callable[[], None]], Any]
    patient: Callable[[], Any]
    bad_index: str | None
    config: Mapping[str, Any] = field(default_factory=dict)
    class_weights: bool = True


def _keras(
    framework: str, version: int, environment: Mapping[str, str], bad_index: str | None
) -> Family:
    return Family(
        framework,
        environment,
        models.embedded,
        models.summed,
        models.classifier,
        models.normalised,
        models.two_outputs,
        models.ncf,
        lambda function: function,
        partial(models.after_steps, version),
        partial(models.patient, version),
        bad_index,
        {"keras": version},
    )


def _keras3(backend: str, bad_index: str | None) -> Family:
    environment = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return _keras("keras", 3, environment, bad_index)


FAMILIES = {
    "tf2": _keras("tf2", 2, TF2_ENVIRONMENT, "700 is not in [0, 500)"),
    "keras-tensorflow": _keras3("tensorflow", "700 is not in [0, 500)"),
    "keras-jax": _keras3("jax", None),
    "keras-torch": _keras3("torch", "index out of range"),
    "pytorch": Family(
        "torch",
        {},
        torch_family.embedding,
        torch_family.summed,
        torch_family.classifier,
        torch_family.batchnorm,
        torch_family.two_inputs,
        torch_family.ncf,
        torch_family.of_model,
        torch_family.after_steps,
        torch_family.patient,
        "index out of range",
        class_weights=False,
    ),
}
