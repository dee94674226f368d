"""Predictions, called with as many rows as suit the model."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import torch
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.row_budget import rows_within
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.torch.call_errors import CALL_ERRORS, call_error
from zoo.orca.frameworks.torch.device import flat_tensors
from zoo.orca.frameworks.torch.feed import Batch, BatchLayout, tensors_of
from zoo.orca.frameworks.torch.metrics.inputs import scale_of
from zoo.orca.frameworks.torch.models import TorchModel, call_model, described, resized
from zoo.orca.frameworks.torch.saving.state import is_built, write_training, write_weights
from zoo.orca.frameworks.torch.training.callbacks import MainCallback
from zoo.orca.frameworks.torch.training.operator import TrainingOperator, overrides
from zoo.orca.frameworks.torch.training.runner import TrainingRunner
from zoo.orca.wire.features import ColumnSpec
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.outputs import PROBES, OutputSpec, Scale
from zoo.orca.wire.packing import State
from zoo.orca.wire.torch_options import CALLBACKS, TorchOptions
from zoo.orca.worker.collective.protocol import Alone
from zoo.orca.worker.plugin import Columns, World

#: What comes out of a layer at the end of a sequence.
_ENDS: Final = {
    torch.nn.Sigmoid: Scale.PROBABILITIES,
    torch.nn.Softmax: Scale.PROBABILITIES,
    torch.nn.LogSoftmax: Scale.LOGARITHMS,
}
_SHORT: Final = (torch.bfloat16, torch.float16)


class TorchPrediction:
    """Implements `zoo.orca.worker.plugin.Predictor`."""

    def __init__(self, job: PredictJob) -> None:
        self._made = TorchModel(job)
        self._layout = BatchLayout(job.columns)
        self._names = [output.name for output in job.outputs]
        self._state = State.from_bytes(job.state) if job.state is not None else None
        self._made.model.eval()
        self._call: Call | None = None

    @property
    def is_as_new(self) -> bool:
        """Never: its modules run as Python, which may count and remember; they are soon made."""
        return False

    def begin(self, sample: Columns) -> int:
        """Build the model with the first rows, load the state, and return how many rows suit it."""
        made = self._made
        few = [tensor.to(made.device) for tensor in tensors_of(self._layout, sample)]
        features = self._layout.pack_features(few)
        # Not in inference mode, because what a call builds there would be read-only afterwards.
        with torch.no_grad():
            if self._state is not None:
                if not is_built(made.model, self._state):
                    Call(made, None).forward(features)
                    made.model.eval()  # modules built in the call begin in training mode
                write_weights(made.model, self._state)
            self._call = Call(made, self._state)
            suits = rows_within(_row_elements(made, self._call.forward, features))
            self._call.tell("before_pred_epoch")
            return suits

    def __call__(self, columns: Columns) -> list[NDArray[Any]]:
        """Return the outputs for these rows."""
        device = self._made.device
        with torch.inference_mode():
            tensors = [tensor.to(device) for tensor in tensors_of(self._layout, columns)]
            call = self._call or Call(self._made, None)
            found = flat_tensors(call(self._layout.pack_features(tensors)))
            # By name, because a model may change the order of its dict's keys.
            if found.keys() != set(self._names):
                raise ModelError(
                    f"the model returned the outputs {list(found)} in one call, and {self._names} "
                    "when it was built\nReturn the same outputs in every call"
                )
            return [array_of(found[name]) for name in self._names]

    def end(self) -> None:
        """Tell the callbacks."""
        if self._call is not None:
            self._call.tell("after_pred_epoch")


class Call:
    """Predicts a batch with the model, or with what the user has for it, and tells the callbacks.

    That is a main callback's `on_pred_forward`, or the operator's own method.

    Parameters
    ----------
    made : TorchModel
    state : State or None
        Its part for operators is used.
    """

    def __init__(self, made: TorchModel, state: State | None) -> None:
        self._made = made
        self._operator: Any = None
        self._runner: TrainingRunner | None = None
        callbacks, has_own = made.part(CALLBACKS), has_own_prediction(made)
        if not has_own and not callbacks:
            return
        world = World(collective=Alone(), report=lambda progress: None)
        runner = TrainingRunner(made, world, None, TorchOptions())
        if callbacks:
            self._runner = runner
            runner.use_callbacks(callbacks)
        if not has_own:
            return
        self._operator = made.operator_class()(runner)
        if state is not None:
            own = State(state.tensors, {"operator": state.meta.get("operator")})
            write_training(own, (), (), self._operator)

    def __call__(self, features: Structure) -> Structure:
        """Return the outputs, in the model's own structure."""
        runner = self._runner
        if runner is None:
            return self.forward(features)
        runner.batch, runner.output = features, None
        runner.tell("before_pred_iter")
        runner.output = self.forward(runner.batch)
        runner.tell("after_pred_iter")
        runner.batch_idx += 1
        return runner.output

    def tell(self, moment: str) -> None:
        """Call one method of every callback."""
        if self._runner is not None:
            self._runner.tell(moment)

    def forward(self, features: Structure) -> Structure:
        """Return the outputs without telling any callback."""
        if self._runner is not None and self._runner.has_own_prediction:
            return self._by_callback(self._runner, features)
        if self._operator is None:
            return call_model(self._made.models[0], features)
        batch = features if isinstance(features, tuple) else (features,)
        return self._operator.predict([batch])[0]

    def _by_callback(self, runner: TrainingRunner, features: Structure) -> Structure:
        runner.batch, runner.output = features, None
        cast(MainCallback, runner.main_callback).on_pred_forward(runner)
        if runner.output is None:
            raise ModelError(
                f"{type(runner.main_callback).__name__} sets no runner.output in a prediction\n"
                "Let on_pred_forward set it: runner.output = runner.call_model(runner.batch)"
            )
        return runner.output


def has_own_prediction(made: TorchModel) -> bool:
    """Whether the user's operator has its own prediction method."""
    return overrides(made.operator_class(), "predict", "predict_batch")


def outputs_of(
    made: TorchModel, batch: Batch, columns: Sequence[ColumnSpec]
) -> tuple[OutputSpec, ...]:
    """Return the outputs from a sample, which also builds lazy modules.

    Parameters
    ----------
    made : TorchModel
    batch : Batch
        The sample.
    columns : sequence of ColumnSpec
        The columns of its features, for the error.

    Raises
    ------
    ModelError
        If the model cannot be called with them, or it is undefined how several models predict.
    """
    own = has_own_prediction(made) or bool(made.part(CALLBACKS))
    if not own and len(made.models) != 1:
        raise ModelError(
            f"model makes {len(made.models)} models, and nothing says what they predict together\n"
            "Pass a training_operator_cls with predict_batch(self, batch), which calls self.models"
        )
    call, was = Call(made, None).forward, made.model.training
    made.model.eval()
    try:
        with torch.no_grad():
            answers: dict[int | None, Structure] = {
                n: call(resized(batch.features, n)) for n in PROBES
            }
    except CALL_ERRORS as error:
        if own:
            raise
        hooks = made.operator_class()
        other = None if hooks is TrainingOperator else hooks.__name__
        raise call_error(made.models[0], batch.features, columns, error, hooks=other) from error
    finally:
        made.model.train(was)
    found = described(answers)
    if len(found) != 1 or own:
        return found  # nothing tells which of them the loss is of
    return (replace(found[0], scale=scale_of(made.loss()) or _scale_of_end(made.model)),)


def _scale_of_end(model: torch.nn.Module) -> Scale | None:
    """Return what the last layer of a sequence says that its outputs are."""
    last = model
    while isinstance(last, torch.nn.Sequential) and len(last):
        last = last[-1]
    return next((scale for kind, scale in _ENDS.items() if isinstance(last, kind)), None)


def array_of(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor's values; numpy does not know bfloat16."""
    tensor = tensor.detach().cpu()
    values: NDArray[Any] = (tensor.float() if tensor.dtype in _SHORT else tensor).numpy()
    return values


def _row_elements(
    made: TorchModel, call: Callable[[Structure], Structure], features: Structure
) -> int:
    """Return how many numbers the model's modules compute per row, from a call with few rows."""
    sizes: list[int] = []

    def count(module: torch.nn.Module, inputs: Structure, output: Structure) -> None:
        if isinstance(output, torch.Tensor) and output.dim():
            sizes.append(output[0].numel())

    parts = list(made.model.modules())
    if any(isinstance(part, (torch.jit.ScriptModule, torch.fx.GraphModule)) for part in parts):
        # It takes no hooks; what it computes is seldom more than its weights.
        computed = [*made.model.parameters(), *flat_tensors(call(features)).values()]
        return sum(int(value.numel()) for value in computed)
    leaves = [module for module in made.model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(count) for module in leaves]
    try:
        call(features)
    finally:
        for handle in handles:
            handle.remove()
    return sum(sizes)
