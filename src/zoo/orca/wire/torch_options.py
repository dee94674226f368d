"""The options that only PyTorch's jobs have."""

from dataclasses import dataclass

#: The part of a recipe that has the callbacks of a prediction.
CALLBACKS = "callbacks of predict"


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchOptions:
    """Options of PyTorch's `fit` and `evaluate`.

    Parameters
    ----------
    info : bytes
        The pickled dict for the user's hooks (see `zoo.orca.wire.packing`); empty for none.
    reduce_results : bool
        Whether results are one set for all workers; False adds each worker's own.
    first_step, last_step : int or None
        The numbers of this call's first step and of the step after its last one, over all calls.
        They tell an attempt that resumes from a checkpoint how many steps are done. If None, the
        state gives the first step and the epochs give the last.
    gradient_accumulation : int
        Batches whose gradients make one update.
    clip_grad_norm : float or None
        The largest norm of all gradients together.
    bf16 : bool
        Whether the forward pass runs in bfloat16.
    compile : bool
        Whether the model goes through `torch.compile`.
    training_metrics : bool or None
        Whether to compute metrics in training, too; None: only those that do not keep every row.
    insist_on_optimizer : bool
        Whether a state of another optimizer is an error.
    """

    info: bytes = b""
    reduce_results: bool = True
    first_step: int | None = None
    last_step: int | None = None
    gradient_accumulation: int = 1
    clip_grad_norm: float | None = None
    bf16: bool = False
    compile: bool = False
    training_metrics: bool | None = None
    insist_on_optimizer: bool = False
