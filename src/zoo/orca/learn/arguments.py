"""Checks, before anything runs, the arguments that every framework's estimator has."""

import importlib.util
import inspect
import math
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal, overload

from pyspark.sql import DataFrame, SparkSession

from zoo.orca.driver.session.pythons import is_own_python
from zoo.orca.errors import InvalidInputError, MissingPackageError
from zoo.orca.learn.files.callbacks import with_whole_paths
from zoo.orca.refusals import noted, refuse
from zoo.orca.wire.packing import pack

#: TensorFlow's, JAX's and numpy's generators take seeds of 32 bits.
_LARGEST_SEED = (1 << 32) - 1


def _a(kind: str) -> str:
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def check_bounded(call: str, data: DataFrame, validation: DataFrame | None = None) -> None:
    """Raise `InvalidInputError` for streams: a stage needs rows that end."""
    for frame, what in ((data, ""), (validation, " as validation_data")):
        if frame is not None and frame.isStreaming:
            function = f"lambda batch, n: est.{call}(batch, ...)"
            if call == "fit":
                function = "est.batch_trainer(path, ...)"
            way = f"stream.writeStream.foreachBatch({function})"
            refuse(
                InvalidInputError(
                    f"{call} got a streaming DataFrame{what}, which never ends\n"
                    f"Call it for each batch: {way}"
                )
            )


@noted()
def check_shuffle(shuffle: bool | None) -> None:
    """Raise `InvalidInputError` for False: rows always come in a new order."""
    if shuffle is False:
        raise InvalidInputError(
            "shuffle=False is not there: every epoch takes the rows in a new order\n"
            "Leave shuffle out: then a DataFrame that has one partition for each worker stays "
            "where it is. shuffle=True places its rows on the workers at random"
        )


@noted()
def check_stop(stop: Any) -> None:
    """Raise `InvalidInputError` unless `stop` can be asked after an epoch."""
    if stop is None:
        return
    way = "\nWrite stop=lambda epoch: epoch.logs['loss'] < 0.1, or another function of an epoch"
    if not callable(stop):
        raise InvalidInputError(f"stop must be a function, got {_a(type(stop).__qualname__)}{way}")
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_of(stop) for is_of in kinds):
        raise InvalidInputError(
            f"stop is a generator or a coroutine, which answers nothing when it is called{way}"
        )
    try:
        inspect.signature(stop).bind("epoch")
    except TypeError as error:
        raise InvalidInputError(f"stop cannot be called as stop(epoch): {error}{way}") from None
    except ValueError:  # a built-in function may have no signature
        return


@noted(str)
def checked_name(name: Any) -> str:
    """Return the label of a call; an empty string for None."""
    if name is None:
        return ""
    if not isinstance(name, str) or not name.strip():
        raise InvalidInputError(
            f"name={name!r} is not a label\nGive some text, such as name='trial 3', or leave it out"
        )
    return " ".join(name.split())


#: What each framework's plug-in imports. Keras 3 also imports the backend that it is set to.
_PACKAGES = {"tf2": ("tensorflow",), "keras": ("keras",), "torch": ("torch",)}


def check_installed(
    framework: str, environment: Mapping[str, str], spark: SparkSession | None
) -> None:
    """Raise `MissingPackageError` if a framework is missing and workers run this Python, too.

    On other machines, or in another Python, only the workers know. The check imports nothing.
    """
    if spark is None or not is_own_python(spark):
        return
    backend = environment.get("KERAS_BACKEND")
    for package in (*_PACKAGES.get(framework, ()), *([backend] if backend else [])):
        if not is_there(package):
            extra = "keras" if backend == "jax" else framework if package != backend else ""
            what = f"'zoo-orca[{extra}]'" if extra else package
            python = sys.executable
            refuse(
                MissingPackageError(
                    f"the package {package!r} is not installed in this program's Python, which is "
                    f"the workers', too: {python}\nInstall it: {python} -m pip install {what}"
                )
            )


def is_there(package: str) -> bool:
    """Whether a package is installed here."""
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # something stands in for it
        return False


@overload
def positive(name: str, value: Any, optional: Literal[False] = ..., *, least: int = ...) -> int: ...


@overload
def positive(name: str, value: Any, optional: Literal[True], *, least: int = ...) -> int | None: ...


def positive(name: str, value: Any, optional: bool = False, *, least: int = 1) -> int | None:
    """Return a whole number; raise `InvalidInputError` unless it is one from `least`.

    If it is optional, None will do, too.
    """
    if optional and value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        way = f"Write {name}={least}, or more"
        whole = _whole(value)
        if whole is not None and whole >= least:
            way = f"Write {name}={whole}, a Python int"
        if optional:
            way += f"; or leave {name} out"
        refuse(
            InvalidInputError(f"{name} must be a whole number from {least}, got {value!r}\n{way}")
        )
        return None if optional else least
    return value


def _whole(value: Any) -> int | None:
    """Return the whole number that a float or numpy number means, or None."""
    if isinstance(value, (bool, str)):
        return None
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return whole if value == whole else None


def check_seed(seed: Any) -> None:
    """Raise `InvalidInputError` unless every framework's generators take `seed`."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= _LARGEST_SEED:
        whole = _whole(seed)
        fits = whole is not None and 0 <= whole <= _LARGEST_SEED
        way = f"Write seed={whole}, a Python int" if fits else "Write seed=0, or another"
        raise InvalidInputError(
            f"seed must be a whole number from 0 to {_LARGEST_SEED}, got {seed!r}\n{way}"
        )


def check_gradient_dtype(value: Any) -> None:
    """Raise `InvalidInputError` unless `value` names what gradients can be sent as."""
    if not isinstance(value, str) or value not in ("float32", "bfloat16"):
        raise InvalidInputError(
            f"gradient_dtype must be 'float32' or 'bfloat16', got {value!r}\nWrite 'bfloat16' to "
            "send half the bytes between hosts, with fewer digits, or leave it out"
        )


@noted(lambda: 1)
def verbosity(verbose: Any) -> int:
    """Return how much a call shows, as a number; Keras's "auto" is 1."""
    if verbose == "auto":
        return 1
    if not isinstance(verbose, int) or verbose < 0:
        raise InvalidInputError(
            f"verbose must be 0, 1, 2 or 'auto', got {verbose!r}\nWrite verbose=0 to show nothing, "
            "verbose=1 to show progress"
        )
    return int(verbose)


def check_creator(name: str, creator: Any, result: str, *arguments: str) -> None:
    """Raise `InvalidInputError` unless `creator` can be called with these arguments.

    Parameters
    ----------
    name : str
        The argument's name.
    creator : object
    result : str
        What it must return, for the error.
    *arguments : str
        The names of the arguments that it will get.
    """
    call = f"{name}({', '.join(arguments)})"
    way = f"\nWrite def {call}: ..., and let it return {result}"
    if not callable(creator):
        kind = _a(type(creator).__qualname__)
        raise InvalidInputError(f"{name} must be a function, got {kind}{way}")
    try:
        signature = inspect.signature(creator)
    except (TypeError, ValueError):  # a built-in function may have no signature
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise InvalidInputError(f"{name} cannot be called as {call}: {error}{way}") from None


def checked_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the argument for creators; refuse what belongs elsewhere."""
    if config is not None and not isinstance(config, Mapping):
        raise InvalidInputError(
            f"config must be a dict, got {_a(type(config).__qualname__)}\n"
            "Write config={'lr': 0.001}: creators are called with it"
        )
    settings = dict(config or {})
    if "batch_size" in settings:
        raise InvalidInputError(
            "batch_size belongs to fit(batch_size=...), not to config\n"
            "Take it out of config, and give it to fit"
        )
    return settings


@noted()
def class_weights(given: Mapping[Any, float] | None) -> dict[int, float] | None:
    """Return the weights of classes by class number, for keys of any type.

    JSON has strings as keys; pandas and numpy have their own types of numbers.

    Raises
    ------
    InvalidInputError
        If a key is not a class number, or a weight is not a number.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InvalidInputError(
            f"class_weight is a {type(given).__qualname__}, and not a dict of classes to weights\n"
            "Write class_weight={0: 1.0, 1: 5.0}"
        )
    found: dict[int, float] = {}
    for key, weight in given.items():
        number = _class_number(key)
        if number is None or number < 0 or number in found:
            why = "is there twice" if number in found else "is no class"
            raise InvalidInputError(
                f"class_weight: the key {key!r} {why}: classes are the whole numbers from 0\n"
                "Write the labels' own numbers, for example class_weight={0: 1.0, 1: 5.0}"
            )
        if not isinstance(weight, Real) or not math.isfinite(weight):
            raise InvalidInputError(
                f"class_weight: the weight of class {number} is {weight!r}, and not a number\n"
                f"Write a number, for example class_weight={ {number: 1.0} }"
            )
        found[number] = float(weight)
    return found or None


def _class_number(key: Any) -> int | None:
    """Return the whole number that a key means, or None."""
    if isinstance(key, str):
        return int(key) if re.fullmatch(r"\s*[+-]?\d+\s*", key, re.ASCII) else None
    if not isinstance(key, Real) or not math.isfinite(key):
        return None
    whole = int(float(key))
    return whole if whole == key else None


@noted()
def check_checkpoints(
    steps: int | None, seconds: float | None, resume: bool, model_dir: str | None
) -> None:
    """Check the arguments of `fit` about checkpoints.

    Raises
    ------
    InvalidInputError
        If a number is not positive, or there is no `model_dir` to write to.
    """
    positive("checkpoint_steps", steps, optional=True)
    is_number = isinstance(seconds, Real) and not isinstance(seconds, bool)
    if seconds is not None and not (is_number and 0 < seconds < math.inf):
        refuse(
            InvalidInputError(
                f"checkpoint_seconds must be a number above 0, got {seconds!r}\n"
                "Write seconds, for example checkpoint_seconds=60"
            )
        )
    given = {"checkpoint_steps": steps, "checkpoint_seconds": seconds, "resume": resume or None}
    wanted = [name for name, value in given.items() if value is not None]
    if wanted and model_dir is None:
        raise InvalidInputError(
            f"{wanted[0]}={given[wanted[0]]!r} needs a place for checkpoints\n"
            "Give the estimator a model_dir that driver and workers reach"
        )


def check_engine(backend: str, names: Sequence[str]) -> None:
    """Raise `InvalidInputError` unless `backend` names one of the original's engines.

    Here one engine stands for all of them.
    """
    if backend not in names:
        raise InvalidInputError(
            f"backend must be one of {tuple(names)}, got {backend!r}\n"
            "All of them mean the one engine there is: leave backend out"
        )


@noted()
def packed_callbacks(callbacks: Sequence[Any] | None) -> bytes | None:
    """Return the callbacks as bytes for the workers."""
    if callbacks is None:
        return None
    if not isinstance(callbacks, (list, tuple)):
        kind = type(callbacks).__qualname__
        raise InvalidInputError(
            f"callbacks must be a list, got one {kind}\nWrite callbacks=[...], also for one"
        )
    return pack(with_whole_paths(callbacks), "callbacks") if callbacks else None


@noted(lambda: 1)
def frequency(value: Any) -> int | tuple[int, ...]:
    """Return after every how many epochs, or after which epochs, validation runs."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        positive("validation_freq", value)
        return int(value)
    epochs = tuple(value)
    for epoch in epochs:
        whole = _whole(epoch)
        if whole is None or whole < 1:
            raise InvalidInputError(
                f"validation_freq lists epochs, which count from 1, and {epoch!r} is none\n"
                "Write whole numbers from 1, such as validation_freq=[1, 5, 10]"
            )
    return tuple(int(epoch) for epoch in epochs)


def ignore_data_config(data_config: Mapping[str, Any] | None, data: Any) -> None:
    """Warn of an argument that has a meaning for a creator alone."""
    if data_config is not None and not callable(data):
        warnings.warn(
            "data_config belongs to data creators; a DataFrame needs none, so it is not used",
            stacklevel=3,
        )
