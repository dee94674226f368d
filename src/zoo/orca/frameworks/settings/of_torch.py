"""PyTorch's process-wide settings, for its own plug-in and for Keras on torch."""

import torch

from zoo.orca.frameworks.settings.fresh import Fresh


def _determinism() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_determinism(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _matmul() -> tuple[object, ...]:
    # The order matters: setting the precision also sets CUDA's flags.
    return torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32


def _set_matmul(value: tuple[str, bool]) -> None:
    torch.set_float32_matmul_precision(value[0])
    torch.backends.cuda.matmul.allow_tf32 = value[1]


def _cudnn() -> tuple[bool, ...]:
    own = torch.backends.cudnn
    return own.enabled, own.benchmark, own.deterministic, own.allow_tf32


def _set_cudnn(value: tuple[bool, ...]) -> None:
    own = torch.backends.cudnn
    own.enabled, own.benchmark, own.deterministic, own.allow_tf32 = value


def _autocast() -> tuple[object, ...]:
    return tuple(
        (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in _DEVICES
    )


def _set_autocast(value: tuple[tuple[bool, torch.dtype], ...]) -> None:
    for kind, (enabled, dtype) in zip(_DEVICES, value, strict=True):
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)


_DEVICES = ("cpu", "cuda")
_options = torch._tensor_str.PRINT_OPTS


def _flushes() -> bool:
    """Return whether denormal numbers become zero, which torch has no function to tell."""
    return float(torch.tensor([1e-310], dtype=torch.float64) * 1.0) == 0.0


SETTINGS = Fresh(
    [
        (torch.get_default_dtype, torch.set_default_dtype),
        # None, not the device that it stands for, because naming a device slows every operation.
        (torch.get_default_device, lambda value: torch.set_default_device(None)),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (_determinism, _set_determinism),
        (
            lambda: torch.utils.deterministic.fill_uninitialized_memory,
            lambda value: setattr(torch.utils.deterministic, "fill_uninitialized_memory", value),
        ),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        (_matmul, _set_matmul),
        (_cudnn, _set_cudnn),
        (_autocast, _set_autocast),
        (
            lambda: dict(vars(_options)),
            lambda value: vars(_options).update(value),
        ),
        (_flushes, torch.set_flush_denormal),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.multiprocessing.get_sharing_strategy, torch.multiprocessing.set_sharing_strategy),
    ]
)
