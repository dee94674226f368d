"""What the user's creators make: model, optimizers, schedules, loss, metrics."""

import inspect
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from zoo.orca.errors import ModelError, RowsNeededError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.torch.device import device, flat_tensors, has_names, moved
from zoo.orca.frameworks.torch.feed import Batch, BatchLayout
from zoo.orca.frameworks.torch.training.losses import LossFunction, Spread, known_loss
from zoo.orca.frameworks.torch.training.operator import TrainingOperator
from zoo.orca.wire.job import Job
from zoo.orca.wire.outputs import OutputSpec, output_spec
from zoo.orca.wire.packing import unpack


def seed_all(seed: int) -> None:
    """Seed every generator that a creator may use."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % (1 << 32))


class TorchModel:
    """A model made from a job's recipe, and what belongs to it.

    Attributes
    ----------
    models : list of torch.nn.Module
        One model, unless the creator returns several for the user's own operator.
    model : torch.nn.Module
        The only model, or all in a `ModuleList`.
    config : dict
    device : torch.device

    Parameters
    ----------
    job : Job
    fresh_process : bool
        Whether this process is a child's, whose generators may be seeded.
    """

    def __init__(self, job: Job, *, fresh_process: bool = True) -> None:
        self._recipe: dict[str, Any] = unpack(job.model.creator)
        self.config: dict[str, Any] = unpack(job.model.config)
        self.device = device(job.gpus) if fresh_process else torch.device("cpu")
        if fresh_process:
            seed_all(job.seed)
        made = self._call_model()
        found = list(made) if isinstance(made, (list, tuple)) else [made]
        for one in found:
            if not isinstance(one, torch.nn.Module):
                kind = f"{type(one).__module__}.{type(one).__qualname__}"
                shown = "None" if one is None else f"a {kind}"
                raise ModelError(
                    f"model must make a torch.nn.Module, and made {shown}\n"
                    "Let model(config) return the model: is a return missing?"
                )
        self.models = [one.to(self.device) for one in found]
        self.model = found[0] if len(found) == 1 else torch.nn.ModuleList(self.models)

    def part(self, name: str) -> Any:
        """Return one part of the recipe as the user gave it, or None."""
        packed = self._recipe.get(name)
        return packed if not isinstance(packed, bytes) else unpack(packed)

    def _call_model(self) -> Any:
        hook = self.part("initialization_hook")
        if hook is not None:
            hook()
        given = self.part("model")
        if isinstance(given, list) and isinstance(given[0], torch.nn.Module):
            return given[0]  # its classes come beside it
        if isinstance(given, list):
            given = given[0]
        if isinstance(given, type):
            return given(self.config) if _required(given) else given()
        return given(self.config)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizers over the model's parameters.

        Raises
        ------
        ModelError
            If there are none.
        """
        given = self.part("optimizer")
        if given is None:
            raise ModelError(
                "fit needs an optimizer\nPass from_torch(optimizer=...), for example a function "
                "optimizer(model, config) that returns torch.optim.Adam(model.parameters())"
            )
        if isinstance(given, dict):
            return [self._rebuilt(given)]
        if isinstance(given, type):
            rate = {"lr": self.config["lr"]} if "lr" in self.config else {}
            return [given(self.model.parameters(), **rate)]
        made = given(self.model if len(self.models) == 1 else self.models, self.config)
        found = list(made) if isinstance(made, (list, tuple)) else [made]
        for one in found:
            if not isinstance(one, torch.optim.Optimizer):
                raise ModelError(
                    f"optimizer must make a torch.optim.Optimizer, and made a "
                    f"{type(one).__module__}.{type(one).__qualname__}\n"
                    "Let optimizer(model, config) return one: is a return missing?"
                )
        return found

    def _rebuilt(self, given: dict[str, Any]) -> torch.optim.Optimizer:
        """Turn the user's optimizer over their model into the same one over this model."""
        parameters = dict(self.model.named_parameters())
        groups = [
            {**group, "params": [parameters[name] for name in names]}
            for names, group in zip(given["names"], given["groups"], strict=True)
        ]
        known = inspect.signature(given["class"].__init__).parameters
        defaults = {name: value for name, value in given["defaults"].items() if name in known}
        optimizer = given["class"](groups, **defaults)
        optimizer.load_state_dict(given["state"])
        return optimizer

    def schedulers(
        self, optimizers: list[torch.optim.Optimizer]
    ) -> list[torch.optim.lr_scheduler.LRScheduler]:
        """Return the learning-rate schedules."""
        creator = self.part("scheduler_creator")
        if creator is None:
            return []
        made = creator(optimizers[0] if len(optimizers) == 1 else optimizers, self.config)
        found = list(made) if isinstance(made, (list, tuple)) else [made]
        for one in found:
            if not hasattr(one, "step"):
                raise ModelError(
                    f"scheduler_creator must return a schedule of torch.optim.lr_scheduler, and "
                    f"returned a {type(one).__qualname__}\nLet it return one: is a return missing?"
                )
        return found

    def loss(self) -> LossFunction | None:
        """Return the loss as a function of output and target, or None."""
        given = self.part("loss")
        if given is None:
            return None
        if isinstance(given, type):
            made = given(self.config) if _required(given) else given()
        elif isinstance(given, torch.nn.Module) or takes_two(given):
            made = given
        else:
            made = given(self.config)
        if not callable(made):
            raise ModelError(
                f"loss must make a function of output and target, and made {made!r}\n"
                "Pass loss=nn.MSELoss(), or a function loss(config) that returns one"
            )
        made = made.to(self.device) if isinstance(made, torch.nn.Module) else made
        call = made.forward if isinstance(made, torch.nn.Module) else made
        if isinstance(made, torch.nn.GaussianNLLLoss):
            raise ModelError(
                "GaussianNLLLoss takes mean, label and variance in this order\n"
                "Pass a function: lambda output, target: F.gaussian_nll_loss(output[0], target, "
                "output[1])"
            )
        return Spread(made) if (_positional(call) or 0) > 2 else known_loss(made)

    def operator_class(self) -> type[TrainingOperator]:
        """Return the class whose hooks run the steps."""
        found = self.part("training_operator_cls")
        return TrainingOperator if found is None else found

    def sample_output(self, batch: Batch) -> Structure:
        """Return the model's output for a batch, in evaluation mode and without gradients."""
        was = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                return call_model(self.model, batch.features)
        finally:
            self.model.train(was)

    def placeholder(self, layout: BatchLayout) -> Batch:
        """Return a batch of rows of zeros.

        Raises
        ------
        RowsNeededError
            While the length of an array column is unknown.
        """
        arrays = layout.placeholder()
        if arrays is None:
            raise RowsNeededError(
                "the model is called once for its outputs, and there is no row to call it with\n"
                "Fit or load first, or pass rows"
            )
        tensors = [torch.from_numpy(values) for values in layout.features(arrays).values()]
        features = layout.pack_features(moved(tensors, self.device))
        return Batch(features, None, None, 2, 2)


def call_model(model: Callable[..., Structure], features: Structure) -> Structure:
    """Call a model with features by position, or by keyword if they have names."""
    return model(**features) if isinstance(features, Mapping) else model(*features)


def described(calls: Mapping[int | None, Structure]) -> tuple[OutputSpec, ...]:
    """Return the specification of a model's outputs.

    Parameters
    ----------
    calls : dict
        The model's results by row count.

    Raises
    ------
    ModelError
        If they are not tensors, or their number depends on the row count.
    """
    try:
        flat = {rows: flat_tensors(output) for rows, output in calls.items()}
    except TypeError as error:
        raise ModelError(
            f"the model must return tensors, and returned {error}\n"
            "Let forward return a tensor, or a tuple, a dict or a dataclass of tensors"
        ) from error
    first = next(iter(flat.values()))
    for rows, tensors in flat.items():
        if tensors.keys() != first.keys():
            raise ModelError(
                f"the model returned the outputs {list(tensors)} for {rows} rows, and "
                f"{list(first)} for another number of rows\nReturn the same outputs in every call"
            )
    answer = next(iter(calls.values()))
    flags = {"named": has_names(answer), "keyed": isinstance(answer, Mapping)}
    return tuple(
        _spec(name, {rows: tensors[name] for rows, tensors in flat.items()}, flags)
        for name in first
    )


def _spec(
    name: str, tensors: Mapping[int | None, torch.Tensor], flags: dict[str, bool]
) -> OutputSpec:
    """Return an output's specification from its tensors by row count."""
    first = next(iter(tensors.values()))
    if first.is_nested or first.layout != torch.strided:
        kind, way = (
            ("nested", "to_padded_tensor(0.0)") if first.is_nested else ("sparse", "to_dense()")
        )
        return OutputSpec(
            name=name,
            dtype="float32",
            row_shape=(),
            problem=f"the model's output {name!r} is a {kind} tensor, and a prediction is an entry "
            f"a row of a dense one\nLet forward return output.{way}",
            named=flags["named"],
            keyed=flags["keyed"],
        )
    dtype = str(first.dtype).removeprefix("torch.")
    return output_spec(name, dtype, {n: tuple(t.shape) for n, t in tensors.items()}, **flags)


def resized(features: Structure, rows: int) -> Structure:
    """Return the given number of feature rows: the first ones, repeated if they are fewer."""
    if isinstance(features, Mapping):
        return {name: resized(one, rows) for name, one in features.items()}
    if isinstance(features, tuple):
        return tuple(resized(one, rows) for one in features)
    return features[torch.arange(rows, device=features.device) % len(features)]


def _positional(function: Callable[..., object]) -> int | None:
    """Return how many arguments a function needs; None if unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in plain and p.default is inspect.Parameter.empty for p in parameters)


def _required(kind: type) -> bool:
    """Whether a class has required arguments."""
    return bool(_positional(kind))


def takes_two(function: Callable[..., object]) -> bool:
    """Whether a function is itself a loss, not a creator of one."""
    count = _positional(function)
    return count is None or count >= 2
