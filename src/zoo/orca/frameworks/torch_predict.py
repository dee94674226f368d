"""Predictions: so many rows at once as suit the model."""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.orca.frameworks.torch_device import flat_tensors
from zoo.orca.frameworks.torch_feed import Layout, tensors_of
from zoo.orca.frameworks.torch_models import Made, call_model
from zoo.orca.frameworks.torch_operator import overrides
from zoo.orca.frameworks.torch_runner import Runner
from zoo.orca.frameworks.torch_state import write_training, write_weights
from zoo.orca.wire.job import Job, PredictJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.collective import Alone
from zoo.orca.worker.plugin import Columns, World

#: With more rows than this a call's own cost is no longer seen.
_MOST_ROWS: Final = 1 << 16
_FEWEST_ROWS: Final = 32
#: Bytes of what all modules of one call return. Few of them live at the same time.
_BUDGET: Final = 256 << 20


class Predict:
    """Predicts batches with a job's state."""

    def __init__(self, job: Job) -> None:
        self._made = Made(job)
        self._layout = Layout(job.columns)
        self._most = job.batch_size if isinstance(job, PredictJob) else None
        self._state = State.from_bytes(job.state) if job.state is not None else None
        self._made.model.eval()
        self._operator: Any = None
        self._is_ready = False

    def __call__(self, columns: Columns) -> list[NDArray[np.generic]]:
        """Return the outputs for these rows."""
        tensors = tensors_of(self._layout, columns)
        with torch.inference_mode():
            if not self._is_ready:
                self._begin(tensors)
            rows, most = len(tensors[0]), self._most or _MOST_ROWS
            pieces = [
                self._run([tensor[start : start + most] for tensor in tensors])
                for start in range(0, max(rows, 1), most)
            ]
        if len(pieces) == 1:
            return pieces[0]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _begin(self, tensors: list[Any]) -> None:
        """Build what the first batch builds, then take the state."""
        made = self._made
        few = self._layout.pack_features([tensor[:2].to(made.device) for tensor in tensors])
        size = _row_elements(made, few) if len(made.models) == 1 else 0
        if self._state is not None:
            write_weights(made.model, self._state)
        kind = made.operator_class()
        if overrides(kind, "predict", "predict_batch"):
            runner = Runner(made, World(Alone(), lambda progress: None), None, {})
            self._operator = kind(runner)
            if self._state is not None:
                write_training(
                    State(self._state.tensors, {"operator": self._state.meta.get("operator")}),
                    (),
                    (),
                    self._operator,
                )
        if self._most is None:
            fitting = _BUDGET // (4 * size) if size else _FEWEST_ROWS
            self._most = max(_FEWEST_ROWS, min(_MOST_ROWS, fitting))
        self._is_ready = True

    def _run(self, tensors: list[Any]) -> list[NDArray[np.generic]]:
        device = self._made.device
        features = self._layout.pack_features([tensor.to(device) for tensor in tensors])
        if self._operator is None:
            output = call_model(self._made.models[0], features)
        else:
            batch = features if isinstance(features, tuple) else (features,)
            output = self._operator.predict([batch])[0]
        found = flat_tensors(output).values()
        return [tensor.detach().float().cpu().numpy() for tensor in found]


def _row_elements(made: Made, features: Any) -> int:
    """Return how many numbers the modules of a model make of one row, by calling it with few."""
    sizes: list[int] = []

    def count(module: Any, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.dim():
            sizes.append(output[0].numel())

    leaves = [module for module in made.model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(count) for module in leaves]
    try:
        call_model(made.models[0], features)
    finally:
        for handle in handles:
            handle.remove()
    return sum(sizes)
