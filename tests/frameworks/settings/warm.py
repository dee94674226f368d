"""What a creator may see and change of its process; runs where the framework is."""

from collections.abc import Sequence
from typing import Any

from tests.frameworks.ranks import plugin_of
from zoo.orca.wire.job import BuildJob


def built(jobs: Sequence[BuildJob], columns: dict[str, Any]) -> list[Any]:
    """Build the model of one job after another; return what each creator saw."""
    import sys

    found = []
    for job in jobs:
        plugin = plugin_of(job)
        plugin.prepare(job, 1)
        plugin.build(job, columns)
        found.append(sys.seen_by_the_creator)  # type: ignore[attr-defined]
    return found


def seen(config: dict[str, Any]) -> dict[str, str]:
    """Everything that outlives a job unless somebody sees to it, as text."""
    import sys

    found: dict[str, Any] = {}
    if "tensorflow" in sys.modules:
        found |= _seen_of_tensorflow()
    if "jax" in sys.modules:
        import jax

        found |= {f"jax {name}": value for name, value in jax.config.values.items()}
        found["jax matrix"] = jax.numpy.ones(2).dtype
    if "torch" in sys.modules:
        found |= _seen_of_torch()
    if config.get("keras"):
        found |= _seen_of_keras(config)
    return {name: repr(value) for name, value in found.items()}


def _seen_of_tensorflow() -> dict[str, Any]:
    import tensorflow as tf

    return {
        "eager functions": tf.config.functions_run_eagerly(),
        "soft placement": tf.config.get_soft_device_placement(),
        "tensor float": tf.config.experimental.tensor_float_32_execution_enabled(),
        "log placement": tf.debugging.get_log_device_placement(),
        "jit": tf.config.optimizer.get_jit(),
        "optimizer": tf.config.optimizer.get_experimental_options(),
        "synchronous": tf.config.experimental.get_synchronous_execution(),
        "filtering": tf.debugging.is_traceback_filtering_enabled(),
        "device of tensorflow": tf.constant(1.0).device,
        "sum of infinities": bool(tf.math.is_nan(tf.constant(float("inf")) * 0.0)),
        "random numbers of tensorflow": float(tf.random.uniform(())),
    }


def _seen_of_torch() -> dict[str, Any]:
    import torch

    return {
        "dtype": torch.ones(1).dtype,
        "device of torch": torch.ones(1).device,
        "grad": (torch.ones(1, requires_grad=True) * 2).requires_grad,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.enabled),
        "autocast": torch.is_autocast_enabled("cpu"),
        "denormal": float(torch.tensor([1e-310], dtype=torch.float64) * 1.0),
        "threads": torch.get_num_threads(),
        "shown": str(torch.tensor([1 / 3])),
        "random numbers of torch": float(torch.rand(())),
    }


def _seen_of_keras(config: dict[str, Any]) -> dict[str, Any]:
    import random

    import numpy as np

    from tests.frameworks.models import keras_of

    keras = keras_of(config)
    backend = keras.config if config["keras"] == 3 else keras.backend
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    return {
        "keras floatx": backend.floatx(),
        "keras epsilon": backend.epsilon(),
        "keras format": backend.image_data_format(),
        "keras policy": layer.dtype_policy.name,
        "keras name": layer.name,
        "keras kernel": np.asarray(layer.get_weights()[0]),
        "python": random.random(),
        "numpy": np.random.rand(),
    }


def change(config: dict[str, Any]) -> None:
    """Change all that can be changed and is not said to be for ever."""
    import sys

    if "tensorflow" in sys.modules:
        _change_tensorflow()
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_default_matmul_precision", "float32")
        jax.config.update("jax_debug_nans", True)
        jax.config.update("jax_numpy_rank_promotion", "raise")
    if "torch" in sys.modules:
        _change_torch()
    if config.get("keras"):
        _change_keras(config)


def _change_tensorflow() -> None:
    import tensorflow as tf

    tf.random.get_global_generator()
    tf.config.run_functions_eagerly(True)
    tf.config.set_soft_device_placement(not tf.config.get_soft_device_placement())
    tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.config.optimizer.set_jit(True)
    tf.config.optimizer.set_experimental_options({"constant_folding": False})
    tf.config.experimental.enable_op_determinism()
    tf.debugging.disable_traceback_filtering()
    tf.debugging.enable_check_numerics()
    tf.random.set_seed(99)
    tf.device("cpu:0").__enter__()


def _change_torch() -> None:
    import torch

    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.autograd.set_detect_anomaly(True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = True
    torch.set_autocast_enabled("cpu", True)
    torch.set_flush_denormal(True)
    torch.set_num_threads(2)
    torch.set_printoptions(precision=1)
    torch.manual_seed(99)


def _change_keras(config: dict[str, Any]) -> None:
    import random

    import numpy as np

    from tests.frameworks.models import keras_of

    keras = keras_of(config)
    if config["keras"] == 3:
        keras.config.set_dtype_policy("mixed_bfloat16")
        backend = keras.config
        keras.config.disable_traceback_filtering()
        if hasattr(keras.config, "set_max_epochs"):
            keras.config.set_max_epochs(1)
    else:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        backend = keras.backend
    backend.set_floatx("float64")
    backend.set_epsilon(1e-3)
    backend.set_image_data_format("channels_first")
    for _ in range(3):
        keras.layers.Dense(1)
    keras.utils.set_random_seed(99)
    random.seed(99)
    np.random.seed(99)
