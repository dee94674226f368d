"""TensorFlow's process-wide settings."""

import tensorflow as tf
from tensorflow.python.autograph.utils import ag_logging
from tensorflow.python.data.ops import debug_mode
from tensorflow.python.eager import context
from tensorflow.python.framework import config
from tensorflow.python.ops import stateful_random_ops

from zoo.orca.frameworks.settings.fresh import Fresh


def _set_determinism(value: bool) -> None:
    config.enable_op_determinism() if value else config.disable_op_determinism()


def _set_traceback_filtering(value: bool) -> None:
    debugging = tf.debugging
    debugging.enable_traceback_filtering() if value else debugging.disable_traceback_filtering()


def _set_check_numerics(value: bool) -> None:
    debugging = tf.debugging
    debugging.enable_check_numerics() if value else debugging.disable_check_numerics()


def _set_optimizer_options(value: dict[str, object]) -> None:
    # TensorFlow's own function adds to the existing options, and cannot restore a default.
    context.context()._optimizer_experimental_options = dict(value)
    context.context()._thread_local_data.function_call_options = None


def _device() -> tuple[object, object]:
    own = context.context()._thread_local_data
    return own.device_name, own.device_spec


def _set_generator(value: object) -> None:
    stateful_random_ops.global_generator = value


SETTINGS = Fresh(
    [
        (tf.config.functions_run_eagerly, tf.config.run_functions_eagerly),
        (tf.config.get_soft_device_placement, tf.config.set_soft_device_placement),
        (
            tf.config.experimental.tensor_float_32_execution_enabled,
            tf.config.experimental.enable_tensor_float_32_execution,
        ),
        (tf.debugging.get_log_device_placement, tf.debugging.set_log_device_placement),
        (tf.config.optimizer.get_jit, lambda value: tf.config.optimizer.set_jit(value or False)),
        (
            lambda: dict(context.context()._optimizer_experimental_options),
            _set_optimizer_options,
        ),
        (config.is_op_determinism_enabled, _set_determinism),
        (
            tf.config.experimental.get_synchronous_execution,
            tf.config.experimental.set_synchronous_execution,
        ),
        (_device, lambda value: context.context()._set_device(*value)),
        (lambda: bool(context.context().op_callbacks), _set_check_numerics),
        (lambda: debug_mode.DEBUG_MODE, debug_mode.toggle_debug_mode),
        (tf.debugging.is_traceback_filtering_enabled, _set_traceback_filtering),
        (ag_logging.get_verbosity, tf.autograph.set_verbosity),
        # The generator draws from the system's entropy at its first use.
        (lambda: stateful_random_ops.global_generator, _set_generator),
    ]
)
