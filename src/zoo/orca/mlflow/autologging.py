"""`autolog`: each `fit` of an estimator is tracked by a run of MLflow, from the driver alone."""

import inspect
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import mlflow
from mlflow.entities import Param
from mlflow.utils.autologging_utils import (
    autologging_integration,
    get_autologging_config,
    safe_patch,
)

from zoo.orca.context.sessions import known_session
from zoo.orca.driver.reports.epochs import EpochEnd, listening
from zoo.orca.learn.keras_estimator import KerasEstimator
from zoo.orca.learn.pytorch.estimator import Estimator as TorchEstimator
from zoo.orca.mlflow.artifact import FLAVOR_NAME
from zoo.orca.mlflow.datasets import log_data
from zoo.orca.mlflow.saving import EXAMPLE_ROWS, log_model
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.packing import unpack

_logger = logging.getLogger(__name__)

#: Arguments of `fit` that are no parameters.
_NOT_LOGGED = ("data", "validation_data", "callbacks", "info", "verbose", "name", "profile")
#: MLflow's limits: of a parameter's value, and of the parameters of one call.
_LONGEST, _MOST, _LONGEST_NAME = 500, 100, 250


@autologging_integration(FLAVOR_NAME)  # type: ignore[untyped-decorator]
def autolog(
    log_input_examples: bool = False,
    log_model_signatures: bool = True,
    log_models: bool = True,
    log_datasets: bool = True,
    disable: bool = False,
    exclusive: bool = False,
    disable_for_unsupported_versions: bool = False,
    silent: bool = False,
    registered_model_name: str | None = None,
    extra_tags: Mapping[str, str] | None = None,
) -> None:
    """Track each `fit` that follows: parameters, every epoch's values, the data, the model.

    Values are logged as each epoch ends, by this program alone, to the active run. If there is
    none, `fit` has a run of its own, which ends with it. The step of a value is the number of its
    epoch, counted from 0 as MLflow does for Keras.

    Parameters
    ----------
    log_input_examples : bool
        Whether models have some rows of the data with them.
    log_model_signatures : bool
        Whether models have the signature of the columns.
    log_models : bool
        Whether the model is logged when `fit` has ended.
    log_datasets : bool
        Whether the data is logged as the run's input: its files, where it has some.
    disable : bool
        Ends it.
    exclusive : bool
        Whether runs that the program has begun itself are left alone.
    disable_for_unsupported_versions : bool
        Accepted as in MLflow.
    silent : bool
        Whether MLflow's own messages about it are hidden.
    registered_model_name : str, optional
        Register each model in the registry under this name.
    extra_tags : dict of str to str, optional
        Tags of the runs that `fit` begins itself.
    """
    for kind in (KerasEstimator, TorchEstimator):
        safe_patch(FLAVOR_NAME, kind, "fit", _tracked, manage_run=True, extra_tags=extra_tags)


def _tracked(original: Callable[..., Any], estimator: Any, *args: Any, **kwargs: Any) -> Any:
    """Call `fit`, and log what goes in, what it comes to, and what comes out."""
    run = mlflow.active_run()
    if run is None:  # a thread of somebody else's training, which MLflow gives no run
        return original(estimator, *args, **kwargs)
    run_id = run.info.run_id
    bound = inspect.signature(original).bind(estimator, *args, **kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    _quietly(_log_all_parameters, run_id, estimator, given)
    if _wants("log_datasets"):
        _quietly(log_data, run_id, given["data"], "train")
        _quietly(log_data, run_id, given.get("validation_data"), "eval")
    with listening(Metrics(run_id)):
        stats = original(estimator, *args, **kwargs)
    if _wants("log_models"):
        _quietly(_log_model, estimator, given["data"])
    return stats


def _wants(what: str) -> bool:
    return bool(get_autologging_config(FLAVOR_NAME, what, True))


def _quietly(log: Callable[..., None], *args: Any) -> None:
    """Log something; what cannot be logged is no reason to log nothing else, or not to train."""
    try:
        log(*args)
    except Exception as error:  # whatever a tracking server, or a disk, answers
        _logger.warning("autolog: %s", str(error) or type(error).__name__)


class Metrics:
    """Logs an epoch's values to a run; called with one epoch after another.

    Parameters
    ----------
    run_id : str
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def __call__(self, end: EpochEnd) -> None:
        """Log an epoch's values; if that fails, training goes on."""
        values = {_named(name): float(value) for name, value in end.logs.items()}
        _quietly(self._log, values, end.epoch - 1)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        mlflow.log_metrics(dict(values), step=step, run_id=self._run_id)


def _log_all_parameters(run_id: str, estimator: Any, given: Mapping[str, Any]) -> None:
    own = {name: value for name, value in given.items() if name not in ("self", *_NOT_LOGGED)}
    session = getattr(given["data"], "sparkSession", None) or known_session()
    log_parameters(run_id, {**parameters_of(estimator, session), **own})


def parameters_of(estimator: Any, session: Any) -> dict[str, Any]:
    """Return what an estimator was made with: workers, seed, and the values of its `config`."""
    options, model = estimator._options, estimator._model
    found = {
        "estimator": f"{type(estimator).__module__}.{type(estimator).__qualname__}",
        "workers": estimator._requests.workers(session),
        "seed": options.seed,
        "model_dir": options.model_dir,
    }
    config = unpack(model.config) if model.config else {}
    return found | {f"config.{name}": value for name, value in config.items()}


def log_parameters(run_id: str, parameters: Mapping[str, Any]) -> None:
    """Log parameters that a run does not have yet.

    A run's parameters never change: of a second `fit` in the same run, the others are told of.
    """
    client = mlflow.MlflowClient()
    texts = {
        _named(name): str(value)[:_LONGEST]
        for name, value in parameters.items()
        if value is not None
    }
    there = client.get_run(run_id).data.params
    changed = sorted(name for name in texts.keys() & there.keys() if texts[name] != there[name])
    if changed:
        _logger.warning(
            "autolog: the run has other values of %s, from a fit before this one; begin a run for "
            "each fit to have all of them",
            changed,
        )
    new = [Param(name, text) for name, text in texts.items() if name not in there]
    for start in range(0, len(new), _MOST):
        client.log_batch(run_id, params=new[start : start + _MOST])


def _named(name: object) -> str:
    """Return a name that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", str(name))[:_LONGEST_NAME]


def _log_model(estimator: Any, data: Any) -> None:
    example = None
    if get_autologging_config(FLAVOR_NAME, "log_input_examples", False):
        example = data if hasattr(data, "sparkSession") else _head(estimator, data)
    log_model(
        estimator,
        "model",
        signature=None if _wants("log_model_signatures") else False,
        input_example=example,
        registered_model_name=get_autologging_config(FLAVOR_NAME, "registered_model_name"),
    )


def _head(estimator: Any, data: Any) -> Any:
    """Return the first rows of a frame of pandas; of other forms none."""
    if not type(data).__module__.startswith("pandas."):
        return None
    columns = FeatureSpec.from_json(estimator._state.meta["columns"]).features
    names = {name for one in columns if not one.mask_of for name in one.sources}
    return data[[name for name in data.columns if name in names]].head(EXAMPLE_ROWS)
