"""`AutoEstimator`: a search for hyperparameters whose trials are ordinary fits."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Self

from pyspark.sql import SparkSession

from zoo.orca.automl import study as studies
from zoo.orca.automl.goal import goal_of
from zoo.orca.automl.kept import KeptModel
from zoo.orca.automl.recipes import Recipe, keras_recipe, torch_recipe
from zoo.orca.automl.search import Search, Trials
from zoo.orca.automl.space import checked_space, draw, grid_of
from zoo.orca.context.sessions import known_session
from zoo.orca.driver.reports.epochs import EpochEnd, listening
from zoo.orca.driver.session.cluster import slots
from zoo.orca.driver.session.interrupts import Tagged
from zoo.orca.errors import ContextError, InvalidInputError, StateError
from zoo.orca.learn.arguments import check_seed, positive, verbosity

__all__ = ["AutoEstimator"]

_LOGS: Final = "/tmp/auto_estimator_logs"
_NAME: Final = "auto_estimator"
#: What a search gives to each `fit` itself.
_OWN: Final = ("verbose", "name", "stop", "resume", "initial_epoch")


class AutoEstimator:
    """Searches for the best hyperparameters of a model. Make one with `from_keras` or `from_torch`.

    Attributes
    ----------
    study : optuna.Study or None
        The search as Optuna knows it, once `fit` has begun.
    """

    def __init__(self, recipe: Recipe, logs_dir: str, name: str | None) -> None:
        self._recipe, self._name = recipe, name or _NAME
        self._kept = KeptModel(f"{logs_dir.rstrip('/')}/{self._name}", recipe.make)
        self._space: dict[str, Any] = {}
        self.study: Any = None

    @classmethod
    def from_torch(
        cls,
        *,
        model_creator: Callable[[dict[str, Any]], Any],
        optimizer: Any,
        loss: Any,
        logs_dir: str = _LOGS,
        resources_per_trial: Mapping[str, int] | None = None,
        name: str | None = None,
        remote_dir: str | None = None,
        **options: Any,
    ) -> Self:
        """Return a search over models of PyTorch.

        Parameters
        ----------
        model_creator : callable
            ``model_creator(config)`` returns a module; `config` has a trial's hyperparameters.
        optimizer : callable, class or str
            As of `zoo.orca.learn.pytorch.Estimator.from_torch`; or the name of one of
            ``torch.optim``, whose learning rate is ``config["lr"]``, by default 0.001.
        loss : callable, torch.nn.Module or str
            As there; or the name of one of ``torch.nn``.
        logs_dir : str
            A directory or URL. If the search has a storage, its best model is kept there.
        resources_per_trial : dict, optional
            ``{"cpu": workers, "gpu": GPUs a worker}``; by default one worker and no GPU.
        name : str, optional
            The search's, in its storage and in `logs_dir`.
        remote_dir : str, optional
            In place of `logs_dir`.
        **options : object
            More arguments of `Estimator.from_torch`, such as ``metrics`` and ``num_workers``. The
            metric of `fit` is added where there are no metrics, if `zoo.orca.learn.metrics` has it.

        Raises
        ------
        InvalidInputError
            If an argument cannot be used.
        """
        recipe = torch_recipe(model_creator, optimizer, loss, resources_per_trial, options)
        return cls(recipe, remote_dir or logs_dir, name)

    @classmethod
    def from_keras(
        cls,
        *,
        model_creator: Callable[[dict[str, Any]], Any],
        logs_dir: str = _LOGS,
        resources_per_trial: Mapping[str, int] | None = None,
        name: str | None = None,
        remote_dir: str | None = None,
        estimator: Any = None,
        **options: Any,
    ) -> Self:
        """Return a search over models of Keras.

        Parameters
        ----------
        model_creator : callable
            ``model_creator(config)`` returns a compiled model; `config` has a trial's
            hyperparameters.
        logs_dir, resources_per_trial, name, remote_dir : optional
            As of `from_torch`.
        estimator : class, optional
            `zoo.orca.learn.keras.Estimator` for Keras 3; by default `zoo.orca.learn.tf2.Estimator`.
        **options : object
            More arguments of its `from_keras`, such as ``num_workers`` and ``keras_backend``.

        Raises
        ------
        InvalidInputError
            If an argument cannot be used.
        """
        recipe = keras_recipe(model_creator, resources_per_trial, estimator, options)
        return cls(recipe, remote_dir or logs_dir, name)

    def fit(
        self,
        data: Any,
        epochs: int = 1,
        validation_data: Any = None,
        metric: str | None = None,
        metric_mode: str | None = None,
        metric_threshold: float | None = None,
        n_sampling: int = 1,
        search_space: Mapping[str, Any] | None = None,
        search_alg: Any = None,
        search_alg_params: Mapping[str, Any] | None = None,
        scheduler: Any = None,
        scheduler_params: Mapping[str, Any] | None = None,
        feature_cols: Any = None,
        label_cols: Any = None,
        *,
        batch_size: int = 32,
        seed: int = 0,
        storage: Any = None,
        parallelism: int | None = None,
        timeout: float | None = None,
        verbose: int | str = 1,
        **fit_arguments: Any,
    ) -> None:
        """Run the trials, as many beside each other as there are slots for.

        Parameters
        ----------
        data : DataFrame or another form that `fit` of an estimator takes; or a tuple of arrays
        epochs : int
            The most epochs of a trial.
        validation_data : as `data`, optional
            The metric is that of these rows, if they are given.
        metric : str, optional
            The name of a value of an epoch, such as "accuracy"; by default the loss. A trial's
            value is that of its last epoch.
        metric_mode : "min" or "max", optional
            Needed if the metric's name does not say it.
        metric_threshold : float, optional
            A trial ends once its metric is as good as this.
        n_sampling : int
            Trials; with `hp.grid_search`, how often each point of the grid is tried. -1: until
            `timeout`.
        search_space : dict
            Hyperparameters by name: constants, spaces of `zoo.orca.automl.hp`, and dicts of these.
            "batch_size" goes to `fit`, all others into the creators' `config`.
        search_alg : str or optuna.samplers.BaseSampler, optional
            "tpe", which is the default, "random", "gp", "cmaes", "qmc", or a name of the original's
            for one of these.
        search_alg_params : dict, optional
            Arguments of Optuna's sampler.
        scheduler : str or optuna.pruners.BasePruner, optional
            What ends bad trials early: "asha", "hyperband", "median", "percentile"; by default
            nothing.
        scheduler_params : dict, optional
            Arguments of Optuna's pruner, or ``grace_period``, ``reduction_factor`` and ``max_t``.
        feature_cols, label_cols : optional
            As of `fit` of an estimator.
        batch_size : int
            For trials whose search space has none.
        seed : int
            Fixes what is drawn. Trials beside each other end in no fixed order, and a search learns
            from those that have ended: to repeat one, run one trial at a time, or "random" ones.
        storage : str or optuna.storages.BaseStorage, optional
            Where the search is kept, such as "sqlite:///search.db". One that is there, of the same
            name, is gone on with. By default it is kept in memory.
        parallelism : int, optional
            The most trials beside each other.
        timeout : float, optional
            Seconds after which no trial begins.
        verbose : int or "auto"
            0 shows nothing but failures, anything else a line for each trial.
        **fit_arguments : object
            More arguments of each `fit`.

        Raises
        ------
        InvalidInputError
            If an argument cannot be used, or this search has run.
        MissingPackageError
            If Optuna is not installed.
        """
        if self.study is not None:
            raise InvalidInputError(
                "this AutoEstimator has been fitted, and one search is one fit\n"
                "Make another one; with the same storage and name it goes on with this search"
            )
        _check(epochs, n_sampling, timeout, parallelism, fit_arguments)
        self._recipe.check_fit(fit_arguments)
        check_seed(seed)
        goal, space = goal_of(metric, metric_mode, metric_threshold), checked_space(search_space)
        pruner = studies.pruner_of(scheduler, scheduler_params)
        sampler = partial(_sampler, search_alg, search_alg_params, seed)
        may_end = goal.threshold is not None or type(pruner).__name__ != "NopPruner"
        self._recipe.use_metric(goal.metric)
        spark = _session()
        study = studies.open_study(storage, self._name, goal.mode, sampler(0) or search_alg, pruner)
        studies.retry_left(study)
        left = studies.plan(study, grid_of(space), n_sampling)
        self.study, self._space, self._kept.stays = study, space, storage is not None
        arguments = {
            "validation_data": _rows(validation_data),
            "feature_cols": feature_cols,
            "label_cols": label_cols,
            **fit_arguments,
        }
        trials = Trials(
            make=self._recipe.make,
            fit=partial(_fit, _rows(data), {"epochs": epochs, **arguments}, batch_size),
            goal=goal,
            may_end=may_end,
        )
        Search(
            study=study,
            space=space,
            trials=trials,
            sampler=sampler,
            at_once=parallelism or self._at_once(spark),
            kept=self._kept,
            jobs=Tagged(spark),
            timeout=timeout,
            is_shown=verbosity(verbose) > 0,
        ).run(left)

    def get_best_model(self) -> Any:
        """Return the best trial's model, of its framework, in this process.

        Raises
        ------
        StateError
            If no trial has ended well, or the model is not where it was kept.
        """
        return self.get_best_estimator().get_model()

    def get_best_estimator(self) -> Any:
        """Return an estimator with the best trial's model, to predict or go on training with.

        Raises
        ------
        StateError
            As `get_best_model`.
        """
        return self._kept.estimator(self._best(), self._best_settings())

    def get_best_config(self) -> dict[str, Any]:
        """Return the best trial's hyperparameters and constants.

        Raises
        ------
        StateError
            If no trial has ended well.
        """
        kept = self._kept.config_of(self._best())
        if kept is not None:
            return dict(kept)
        # Of another program: the storage has what was drawn, which says what came of it.
        return draw(self._space, studies.drawn_by(self._best()))

    def _best_settings(self) -> dict[str, Any]:
        return {k: v for k, v in self.get_best_config().items() if k != "batch_size"}

    def _best(self) -> Any:
        best = None if self.study is None else studies.best_of(self.study)
        if best is None:
            raise StateError("no trial has ended well yet\nCall fit first, or look at study.trials")
        return best

    def _at_once(self, spark: SparkSession) -> int:
        """Return how many trials the session has slots for."""
        return max(1, (slots(spark) or 1) // max(1, self._recipe.workers(spark)))


def _fit(
    data: Any,
    arguments: Mapping[str, Any],
    batch_size: int,
    estimator: Any,
    number: int,
    config: Mapping[str, Any],
    on_epoch: Callable[[EpochEnd], bool],
    may_end: bool,
) -> None:
    """Train one trial's model; if it may not end early, workers need not reach the driver."""
    given = {
        **arguments,
        "batch_size": config.get("batch_size", batch_size),
        "name": f"trial {number}",
        "verbose": 0,
    }
    if may_end:
        estimator.fit(data, stop=on_epoch, **given)
        return

    def listener(end: EpochEnd) -> None:
        on_epoch(end)

    with listening(listener):
        estimator.fit(data, **given)


def _sampler(search_alg: Any, parameters: Mapping[str, Any] | None, seed: int, number: int) -> Any:
    """Return the sampler for the trial that comes after `number` others."""
    # Of 32 bits, as Optuna's seeds are, and another one for each trial.
    return studies.sampler_of(search_alg, parameters, (seed + 7919 * number) % (1 << 32))


def _rows(data: Any) -> Any:
    """Return a form of rows that estimators take; the original has tuples of arrays."""
    if isinstance(data, tuple) and len(data) == 2:
        return {"x": data[0], "y": data[1]}
    return data


def _session() -> SparkSession:
    spark = known_session()
    if spark is None:
        raise ContextError(
            "there is no Spark session to run trials in\nCall init_orca_context(...) first"
        )
    return spark


def _check(
    epochs: Any,
    n_sampling: Any,
    timeout: Any,
    parallelism: Any,
    fit_arguments: Mapping[str, Any],
) -> None:
    positive("epochs", epochs)
    positive("parallelism", parallelism, optional=True)
    if n_sampling != -1:
        positive("n_sampling", n_sampling)
    elif timeout is None:
        raise InvalidInputError(
            "n_sampling=-1 tries without end\n"
            "Give timeout=, the seconds after which no trial begins"
        )
    for name in _OWN:
        if name in fit_arguments:
            raise InvalidInputError(
                f"{name} is not for AutoEstimator.fit: the search gives it to each fit itself\n"
                f"Leave {name} out"
            )
