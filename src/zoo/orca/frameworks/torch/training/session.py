"""A model with a job's state, its loss, metrics and operator, ready for a loop."""

import socket
from functools import partial
from typing import Any

import numpy as np
import torch

from zoo.orca.errors import MissingPackageError, ModelError
from zoo.orca.frameworks.common.class_labels import check_chances, check_class_labels
from zoo.orca.frameworks.common.cursor import first_step
from zoo.orca.frameworks.torch.call_errors import CALL_ERRORS, call_error
from zoo.orca.frameworks.torch.device import flat_tensors
from zoo.orca.frameworks.torch.feed import Batch, BatchLayout, TensorFeed
from zoo.orca.frameworks.torch.loader_feed import LoaderFeed, spec_of
from zoo.orca.frameworks.torch.models import TorchModel
from zoo.orca.frameworks.torch.prediction import has_own_prediction, outputs_of
from zoo.orca.frameworks.torch.row_shapes import RowShapes
from zoo.orca.frameworks.torch.saving.resumed import Resumed, made_of, names_of
from zoo.orca.frameworks.torch.saving.state import share_weights, write_training, write_weights
from zoo.orca.frameworks.torch.training.callbacks import makes_forward
from zoo.orca.frameworks.torch.training.losses import (
    Loss,
    LossFunction,
    LossOfKey,
    check_one_label,
    check_shapes,
    common_key,
    is_elementwise,
    is_of_classes,
    loss_of,
    numbers_classes,
    takes_chances,
)
from zoo.orca.frameworks.torch.training.operator import overrides
from zoo.orca.frameworks.torch.training.runner import TrainingRunner
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import EvaluateJob, TrainJob
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State, unpack
from zoo.orca.wire.torch_options import TorchOptions
from zoo.orca.worker.plugin import Data, Rows, World, check_state_size
from zoo.orca.worker.rows.transform import TransformedColumns, check_each

_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def known_columns(data: Data) -> FeatureSpec:
    """Return the columns of a data set; a user's loader has none."""
    return data.spec if isinstance(data, Rows) else FeatureSpec(features=())


class TorchSession:
    """Everything that a loop needs; made on all ranks.

    Attributes
    ----------
    made : TorchModel
    data : TensorFeed or LoaderFeed
        The feed of the job's data.
    outputs : tuple of OutputSpec
    state : State or None
        The job's initial state.
    runner : TrainingRunner
    operator : TrainingOperator
    metrics : dict of str to Metric
    training_metrics : dict of str to Metric
        The metrics that training steps compute, too.
    told : str
        Messages to the user about what was chosen for them.
    anew : list of str
        What did not continue from the state, and why.
    goes_on_with_schedules : bool
        Whether the state's schedules continue.
    evaluation_loss : Loss or None
    """

    def __init__(self, job: TrainJob | EvaluateJob, data: Data, world: World) -> None:
        self.made = made = TorchModel(job)
        self._world, self._job = world, job
        self._options = job.options or TorchOptions()
        self.state = State.from_bytes(job.state) if job.state is not None else None
        self._classes: dict[str, tuple[int, int]] = {}
        self._chances: list[str] = []
        function, kind = made.loss(), made.operator_class()
        callbacks = list(unpack(job.callbacks)) if job.callbacks else []
        self._has_own_forward = makes_forward(callbacks) or overrides(
            kind, "train_epoch", "train_batch", "forward_batch", "validate"
        )
        self._layout = BatchLayout(known_columns(data))
        self.data = self.feed(data)
        sample = self.data.sample()
        spec = data.spec if isinstance(data, Rows) else spec_of(sample)
        self.outputs: tuple[OutputSpec, ...] = self._fit_labels(data, spec, sample, function)
        if self.state is not None:
            write_weights(made.model, self.state)
        else:
            share_weights(made.model, world.collective)
        is_training = isinstance(job, TrainJob)
        train_loss, self.evaluation_loss = self._losses(data, spec, sample, function)
        loss = train_loss if is_training else self.evaluation_loss
        self.runner = TrainingRunner(made, world, loss, self._options)
        self.runner.shares_divisor = self._shares_divisor
        self.runner.row_shapes = self._row_shapes
        if isinstance(job, TrainJob):
            check_state_size(_weight_bytes(made.model), job)
            self.runner.optimizers = made.optimizers()
            self.runner.made_of["optimizers"] = made_of(made.model, self.runner.optimizers)
        self.runner.use_callbacks(callbacks)
        if is_training:
            self.runner.use_schedulers(made.schedulers(self.runner.optimizers))
            self.runner.made_of["schedulers"] = names_of(self.runner.schedulers)
        self.operator = kind(self.runner)
        self.anew: list[str] = []
        self.goes_on_with_schedules = False
        if self.state is not None:
            self._resume(self.state, is_training)
        self.has_own_steps = self.runner.main_callback is not None or overrides(
            kind, "train_epoch", "train_batch", "forward_batch"
        )
        self.has_own_validation = overrides(kind, "validate", "forward_batch")
        self.metrics = _metrics_of(made, function, self._key)
        if is_training:  # a history has one number an epoch
            self.metrics = {n: one for n, one in self.metrics.items() if not hasattr(one, "axes")}
        self.training_metrics, self.told = _for_training(
            self.metrics, self._options.training_metrics
        )

    def _resume(self, state: State, is_training: bool) -> None:
        """Restore the training state, as far as it fits."""
        runner = self.runner
        if not is_training:
            write_training(State(state.tensors, _operators(state)), (), (), self.operator)
            return
        insist = runner.options.insist_on_optimizer
        resumed = Resumed(state, runner.made_of, insist)
        resumed.give(runner.optimizers, runner.schedulers, self.operator)
        self.anew, self.goes_on_with_schedules = resumed.told, resumed.has_schedules

    @property
    def hidden_by(self) -> str:
        """The message if hooks hide a step's outputs."""
        kind = type(self.runner.main_callback or self.operator).__name__
        way = "let train_batch call self.forward_batch, or return the numbers"
        if self.runner.main_callback is not None:
            way = "let on_iter_forward set runner.output"
        return (
            f"metrics are computed in validation alone: a step of {kind} does not show its "
            f"outputs; {way}"
        )

    def feed(self, data: Data) -> TensorFeed | LoaderFeed:
        """Return the feed of one data set; called on all ranks."""
        made, world = self.made, self._world
        if isinstance(data, Rows):
            return TensorFeed(data, world.rank, self._layout, made.device)
        forward = None if self._has_own_forward else made.models[0].forward
        feed = LoaderFeed(data, world.collective, forward, made.device)
        if data.role == "train":
            first_step(self.state, feed.plan)
        return feed

    def _fit_labels(
        self, data: Data, spec: FeatureSpec, sample: Batch, function: LossFunction | None
    ) -> tuple[OutputSpec, ...]:
        """Find the labels' dtypes from a sample; refuse labels that do not fit."""
        self._row_shapes: RowShapes | None = None
        self._key: str | None = None
        if len(self.made.models) != 1:
            return ()
        try:
            own = has_own_prediction(self.made)
            outputs = () if own else outputs_of(self.made, sample, spec.features)
            output = self.made.sample_output(sample)
        except CALL_ERRORS as error:
            if self._has_own_forward:  # it may call the model differently
                return self._fit_unseen(data)
            if isinstance(error, ModelError):
                raise
            model = self.made.models[0]
            raise call_error(model, sample.features, spec.features, error) from error
        self._row_shapes = RowShapes(output)
        if not self._has_own_forward:
            self._key = common_key(function, output, sample.target)
        if self._key is not None:
            output = output[self._key]
        elif not self._has_own_forward and (is_elementwise(function) or is_of_classes(function)):
            check_one_label(function, sample.target, [one.name for one in spec.labels])
        tensors = list(flat_tensors(output).values())
        targets = _members(sample)
        for number, (column, target) in enumerate(zip(spec.labels, targets, strict=True)):
            if len(tensors) == len(targets):
                self._fit_label(column.name, target, tensors[number], function)
            elif target.dtype in _INTEGERS:
                self._layout.label_dtypes[column.name] = np.int64
        return outputs

    def _fit_unseen(self, data: Data) -> tuple[OutputSpec, ...]:
        """Turn whole-number labels into int64, if outputs are unknown."""
        if not isinstance(data, Rows):
            return ()
        rows = data
        for column in rows.spec.labels:
            if rows.columns[column.name].dtype.kind in "iub":
                self._layout.label_dtypes[column.name] = np.int64
        return ()

    def _fit_label(
        self, name: str, target: torch.Tensor, output: torch.Tensor, function: LossFunction | None
    ) -> None:
        if is_elementwise(function) or is_of_classes(function):
            check_shapes(function, output, target, name, by_hooks=self._has_own_forward)
        if is_of_classes(function) and numbers_classes(output, target):
            # Also floats, as StringIndexer makes; a check shows that they are whole.
            self._layout.label_dtypes[name] = np.dtype(np.int64)
            self._classes[name] = (int(output.shape[1]), int(function.ignore_index))
            return
        if takes_chances(function):
            self._chances.append(name)
        if target.dtype not in _INTEGERS:
            return
        if output.shape == target.shape and output.is_floating_point():
            dtype = torch.float32 if output.dtype == torch.bfloat16 else output.dtype
            self._layout.label_dtypes[name] = np.dtype(str(dtype).removeprefix("torch."))
        else:
            self._layout.label_dtypes[name] = np.dtype(np.int64)

    def check_labels(self, rows: Data, data: str = "") -> None:
        """Refuse labels that the loss cannot take; called on all ranks.

        The user's hooks may count classes differently, but all class numbers must be whole. Labels
        of a user's loader are not known beforehand; the framework looks at them.
        """
        if not isinstance(rows, Rows):
            return
        hooks = self._has_own_forward
        common: dict[str, Any] = {"collective": self._world.collective, "data": data}
        for name, (classes, ignored) in self._classes.items():
            known = None if hooks else classes
            check_class_labels(name, rows.columns[name], known, ignored=ignored, **common)
            own = partial(check_class_labels, name, classes=known, ignored=ignored, data=data)
            check_each(rows.columns, name, own)
        for name in () if hooks else self._chances:
            check_chances(name, rows.columns[name], **common)
            check_each(rows.columns, name, partial(check_chances, name, data=data))

    def _losses(
        self, data: Data, spec: FeatureSpec, sample: Batch, function: LossFunction | None
    ) -> tuple[Loss | None, Loss | None]:
        """Return the loss of training and that of evaluation; called on all ranks."""
        self._shares_divisor = False
        if function is None:
            return None, None
        weighted = sample.weight is not None
        by_labels = not weighted and self._may_share(spec, function)
        # An evaluation adds up its divisors at its end, so all ranks need not look at labels first.
        evaluation = loss_of(function, weighted=weighted, shared=by_labels)
        self._shares_divisor = by_labels and self._must_share(data, function)
        training = loss_of(function, weighted=weighted, shared=self._shares_divisor)
        if self._key is not None:
            return LossOfKey(training, self._key), LossOfKey(evaluation, self._key)
        return training, evaluation

    def _may_share(self, spec: FeatureSpec, function: LossFunction) -> bool:
        """Whether labels may count differently in a mean: they are numbers of classes."""
        is_mean = getattr(function, "reduction", "") == "mean"
        if not is_of_classes(function) or not is_mean or len(spec.labels) != 1:
            return False
        return spec.labels[0].name in self._classes  # else they are class probabilities

    def _must_share(self, data: Data, function: LossFunction) -> bool:
        """Whether labels do count differently; all ranks check all their labels and agree."""
        if function.weight is not None:
            return True
        if not isinstance(data, Rows):  # one worker divides by its own labels anyway
            return self._world.size > 1
        if isinstance(data.columns, TransformedColumns):
            return True  # labels that a transform makes are not there yet
        labels = data.columns[data.spec.labels[0].name]
        found = np.array([function.ignore_index in labels], np.int64)
        self._world.collective.all_reduce(found)
        return bool(found[0])


def _members(batch: Batch) -> list[torch.Tensor]:
    if isinstance(batch.target, dict):
        return list(batch.target.values())
    if isinstance(batch.target, tuple):
        return list(batch.target)
    return [] if batch.target is None else [batch.target]


def _weight_bytes(model: torch.nn.Module) -> int:
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())


def _operators(state: State) -> dict[str, Any]:
    """Return the part of a state's header that the user's operator needs."""
    return {"operator": state.meta.get("operator")}


def _for_training(metrics: dict[str, Any], wanted: bool | None) -> tuple[dict[str, Any], str]:
    """Return the metrics to compute in training, and a message about the others."""
    if not metrics or wanted is False:
        return {}, ""
    from zoo.orca.frameworks.torch.metrics.given import grows

    large = [] if wanted else [name for name, metric in metrics.items() if grows(metric)]
    told = ""
    if large:
        told = (
            f"{', '.join(large)}: such a metric keeps every row, so it is computed in validation "
            "alone; fit(training_metrics=True) computes it in training too"
        )
    return {name: metric for name, metric in metrics.items() if name not in large}, told


def _metrics_of(made: TorchModel, loss: LossFunction | None, key: str | None) -> dict[str, Any]:
    """Return metrics by name; without any, torchmetrics is not imported, which is half the start.

    Raises
    ------
    MissingPackageError
        The message has the line that installs it.
    """
    given = made.part("metrics")
    if given is None:
        return {}
    try:
        from zoo.orca.frameworks.torch.metrics.given import metrics_of
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"the package {error.name!r} is not installed on the worker {socket.gethostname()}, "
            "and metrics need it\nInstall it there: pip install 'zoo-orca[torch]' into its Python"
        ) from error
    return metrics_of(given, made.config, made.device, loss, key)
