"""How a search makes the estimator of a trial."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pyspark.sql import SparkSession

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import check_creator, positive
from zoo.orca.learn.pytorch.named import named_loss, named_optimizer

#: The learning rate of an optimizer that is named, if the configuration has none; the original's.
_RATE: Final = 1e-3


class Recipe:
    """Makes estimators.

    Parameters
    ----------
    make : callable
        The estimators' `from_keras` or `from_torch`.
    arguments : dict
        What it is called with, apart from `config`.
    adds_metric : bool
        Whether the metric that a search looks at may be one of `zoo.orca.learn.metrics`.
    """

    def __init__(
        self, make: Callable[..., Any], arguments: Mapping[str, Any], *, adds_metric: bool = False
    ) -> None:
        self._make, self._arguments, self._adds_metric = make, dict(arguments), adds_metric

    def make(self, config: Mapping[str, Any]) -> Any:
        """Return the estimator of a trial."""
        settings = {name: value for name, value in config.items() if name != "batch_size"}
        return self._make(config=settings, **self._arguments)

    def check_fit(self, given: Iterable[str]) -> None:
        """Refuse arguments that the estimators' `fit` does not take, before any trial begins.

        Raises
        ------
        InvalidInputError
        """
        known = inspect.signature(self._make.__self__.fit).parameters  # type: ignore[attr-defined]
        for name in given:
            if name not in known:
                raise InvalidInputError(
                    f"AutoEstimator.fit has {name!r}, which neither it nor fit of the estimators "
                    f"takes\nLeave {name} out; fit of the estimators takes {', '.join(known)}"
                )

    def workers(self, spark: SparkSession) -> int:
        """Return the workers of a trial."""
        if "num_workers" in self._arguments:
            return int(self._arguments["num_workers"])
        return int(self.make({}).num_workers)

    def use_metric(self, name: str) -> None:
        """Let models of PyTorch have a metric by its name, if they have none of their own."""
        if not self._adds_metric or self._arguments.get("metrics") is not None:
            return
        from zoo.orca.learn import metrics

        wanted = name.lower().removeprefix("val_")
        kinds = {
            known.lower(): kind
            for known, kind in vars(metrics).items()
            if isinstance(kind, type) and issubclass(kind, metrics.Metric)
        }
        kind = kinds.get({"acc": "accuracy", "f1": "f1score"}.get(wanted, wanted))
        if kind is not None and kind is not metrics.Metric:
            self._arguments["metrics"] = [kind()]


def keras_recipe(
    model_creator: Any,
    resources: Mapping[str, int] | None,
    estimator: Any,
    options: Mapping[str, Any],
) -> Recipe:
    """Return the recipe of `AutoEstimator.from_keras`."""
    check_creator("model_creator", model_creator, "a compiled model", "config")
    if estimator is None:
        from zoo.orca.learn.tf2 import Estimator as estimator  # noqa: N813
    make = estimator.from_keras
    given = _options(make, resources, options)
    return Recipe(make, {"model_creator": model_creator, **given})


def torch_recipe(
    model_creator: Any,
    optimizer: Any,
    loss: Any,
    resources: Mapping[str, int] | None,
    options: Mapping[str, Any],
) -> Recipe:
    """Return the recipe of `AutoEstimator.from_torch`."""
    from zoo.orca.learn.pytorch import Estimator

    check_creator("model_creator", model_creator, "a torch.nn.Module", "config")
    given = _options(Estimator.from_torch, resources, options)
    parts = {
        "model": model_creator,
        "optimizer": named_optimizer(optimizer, _RATE) if isinstance(optimizer, str) else optimizer,
        "loss": named_loss(loss) if isinstance(loss, str) else loss,
    }
    return Recipe(Estimator.from_torch, {**parts, **given}, adds_metric=True)


def _options(
    make: Callable[..., Any], resources: Mapping[str, int] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an estimator's options, with a trial's resources among them."""
    known = inspect.signature(make).parameters
    for name in options:
        if name == "config" or name not in known:
            way = "Put constants into search_space" if name == "config" else f"Leave {name} out"
            raise InvalidInputError(f"{make.__qualname__} takes no {name} from a search\n{way}")
    found = dict(options)
    asked = dict(resources or {})
    for name, argument, least in (("cpu", "num_workers", 1), ("gpu", "num_gpus_per_worker", 0)):
        if name in asked:
            count = asked.pop(name)
            positive(f"resources_per_trial[{name!r}]", count, least=least)
            found.setdefault(argument, count)
    if asked:
        raise InvalidInputError(
            f"resources_per_trial has {sorted(asked)}\n"
            "Write {'cpu': workers, 'gpu': GPUs of each worker}"
        )
    if "workers_per_node" not in found:
        found.setdefault("num_workers", 1)
    return found
