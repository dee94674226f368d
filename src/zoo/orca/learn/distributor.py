"""`Distributor`: a function of the user's own on every worker, with its rows."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from pyspark.sql import DataFrame, SparkSession

from zoo.orca.context.sessions import known_session
from zoo.orca.driver.frame.source import ColumnNames, prepare, read_spec, without_any_rows
from zoo.orca.driver.request import Request
from zoo.orca.driver.runs import RUN, FitRecord, check_seen, new_run, unfinished
from zoo.orca.driver.session.settings import max_result_bytes
from zoo.orca.errors import ContextError, InvalidInputError
from zoo.orca.learn.arguments import (
    check_bounded,
    check_checkpoints,
    checked_name,
    verbosity,
)
from zoo.orca.learn.ended import needs_session
from zoo.orca.learn.files.recorded import recorded, remove_checkpoints, state_of
from zoo.orca.learn.forms.entry import entered
from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.options import EngineOptions
from zoo.orca.learn.requests import Requests
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import LoopJob, ModelSpec, Placement
from zoo.orca.wire.packing import pack
from zoo.orca.wire.saved.nests import from_state

#: The plug-in that calls the function.
_FRAMEWORK = "own"


class Distributor:
    """Runs a function of yours on several workers of a cluster at once, each with its rows.

    Where an estimator brings the training loop, here you do: plain PyTorch, Lightning, Hugging
    Face's `Trainer`, Flax, or anything else.

    Parameters
    ----------
    num_workers : int, optional
        Workers in all; by default `workers_per_node` on each node, one on a single machine.
    workers_per_node : int
        Workers on each node of the cluster.
    num_gpus_per_worker : int
        GPUs that each worker has to itself.
    seed : int
        Fixes the placement and order of rows.
    model_dir : str, optional
        A directory that driver and workers reach, for checkpoints.
    environment : dict of str to str, optional
        Variables of the workers' environment, before anything is imported there, such as
        ``{"TF_USE_LEGACY_KERAS": "1"}`` or ``{"KERAS_BACKEND": "jax"}``. How many threads a
        framework starts follows from the worker's share of the cores: OMP_NUM_THREADS, NPROC and
        TensorFlow's variables are set.
    log_to_driver : bool
        Whether to show lines that workers print.
    cpu_binding : bool
        Whether each worker keeps to its own cores.

    Raises
    ------
    InvalidInputError
        If an argument cannot be used.
    """

    def __init__(
        self,
        num_workers: int | None = None,
        *,
        workers_per_node: int = 1,
        num_gpus_per_worker: int = 0,
        seed: int = 0,
        model_dir: str | None = None,
        environment: Mapping[str, str] | None = None,
        log_to_driver: bool = True,
        cpu_binding: bool = False,
    ) -> None:
        self._options = EngineOptions(
            num_workers=num_workers,
            workers_per_node=workers_per_node,
            seed=seed,
            log_to_driver=log_to_driver,
            cpu_binding=cpu_binding,
            model_dir=model_dir,
            environment=_checked_environment(environment),
            num_gpus_per_worker=num_gpus_per_worker,
        )
        self._options.check()

    @needs_session
    def run(
        self,
        train: Callable[..., Any],
        df: Any = None,
        /,
        *,
        feature_cols: ColumnNames | None = None,
        label_cols: ColumnNames | None = None,
        sample_weight_col: str | None = None,
        shuffle: bool | None = None,
        verbose: int | str = 1,
        name: str | None = None,
        resume: bool = False,
        **arguments: Any,
    ) -> Any:
        """Call ``train(worker, **arguments)`` on every worker; return what rank 0's call returns.

        The names above are `run`'s own. A function whose arguments have one of these names is
        refused: rename its argument, or bind it with ``functools.partial(train, name=...)``.

        Parameters
        ----------
        train : callable
            Gets a `zoo.orca.frameworks.own.worker.Worker`, and the arguments. It travels to the
            workers, with all that it uses from outside.
        df : DataFrame, pandas or Arrow table, or dict of arrays, optional
            The rows, for ``worker.rows``.
        feature_cols, label_cols : str, list of str or dict
            The columns of `df` that workers get.
        sample_weight_col : str, optional
            One more column, one number a row.
        shuffle : True, optional
            Place the rows on the workers at random, even if `df` already has a partition for each
            worker.
        verbose : int or "auto"
            0 shows nothing.
        name : str, optional
            A label for the lines, the bar and the stage in Spark's UI.
        resume : bool
            Go on from the newest ``worker.checkpoint`` in `model_dir` of a program that was ended.
            It is found by the function, its arguments, the columns and the seed.
        **arguments : object
            The function's further arguments, which travel as they are.

        Returns
        -------
        object
            Numbers, text, None, numpy arrays, and lists, tuples and dicts of them. Arrays of
            PyTorch, JAX and TensorFlow become numpy's.

        Raises
        ------
        ColumnError, InvalidInputError
            If an argument cannot be used; before anything starts.
        CreatorError
            If the function or an argument cannot be sent to the workers; names what is at fault.
        DataError
            If there are no rows, or rows hold nulls or ragged arrays.
        WorkerError
            If the function raises, or returns something else; has rank, host, traceback and log.
        """
        _check_function(train, arguments)
        shown, label = verbosity(verbose), checked_name(name)
        spec, frame = FeatureSpec(features=()), None
        if df is not None:
            columns = Columns(feature_cols, label_cols, sample_weight_col)
            given = entered(df, columns, argument="df")
            frame, shuffle = given.frame, given.shuffle(shuffle)
            check_bounded("run", frame)
            spec = read_spec(frame, *given.columns, weights_by_output=False)
        elif feature_cols is not None or label_cols is not None:
            raise InvalidInputError(
                "feature_cols and label_cols name columns of a DataFrame, and there is none\n"
                "Write run(train, df, feature_cols=...), or leave them out"
            )
        check_checkpoints(None, None, resume, self._options.model_dir)
        model = ModelSpec(
            framework=_FRAMEWORK,
            creator=pack(train, "train"),
            config=pack(arguments, "arguments"),
        )
        requests = _LoopRequests(model, self._options)
        request = requests.loop(
            frame, spec, verbose=shown, name=label, shuffle=bool(shuffle), resume=resume
        )
        job = cast(LoopJob, request.job)
        with recorded(job, request):
            returned = from_state(state_of(request.run()))
        remove_checkpoints(job, "the function has returned")
        return returned


class _LoopRequests(Requests):
    """Makes the requests of `Distributor.run`."""

    def loop(
        self,
        data: DataFrame | None,
        spec: FeatureSpec,
        *,
        verbose: int,
        name: str,
        shuffle: bool,
        resume: bool,
    ) -> Request:
        """Return a complete call, checked against the cluster."""
        spark = _session() if data is None else data.sparkSession
        workers, seed = self.workers(spark), self._options.seed
        if data is None:
            frame, placement = without_any_rows(spark, workers), Placement.AS_THEY_LAY
        else:
            frame, placement = prepare(data, spec, workers, seed, shuffle=shuffle)
        model_dir, record, run = self._options.model_dir, None, ""
        if model_dir is not None:
            record = self._record_of(spec)
            if resume:
                check_seen(model_dir, frame)
                run = unfinished(model_dir, record)
        job = self._job(
            LoopJob,
            None,
            spec,
            spark,
            placement=placement,
            # The steps by which rows are placed; the function chooses its own.
            batch_size=workers,
            max_state_bytes=max_result_bytes(spark),
            model_dir=model_dir,
            run=run or new_run(RUN),
        )
        request = Request(
            title=RUN,
            frame=frame,
            job=job,
            settings=self._settings(verbose, workers, name),
            record=record,
        )
        if data is None or placement is Placement.AT_RANDOM:
            return request

        def at_random() -> Request:
            moved, placed = prepare(data, spec, workers, seed, shuffle=True)
            return replace(request, frame=moved, job=replace(job, placement=placed))

        return replace(request, at_random=at_random)

    def _record_of(self, spec: FeatureSpec) -> FitRecord:
        """Return what a later run must be to go on with this one."""
        return FitRecord(
            model=self.fingerprint,
            columns=json.dumps(spec.to_json(), sort_keys=True),
            batch_size=0,
            seed=self._options.seed,
            initial_epoch=0,
            steps_per_epoch=None,
            kind=RUN,
        )


def _session() -> SparkSession:
    spark = known_session()
    if spark is None:
        raise ContextError(
            "there is no Spark session to run workers in\nCall init_orca_context(...) first"
        )
    return spark


def _check_function(train: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse, before anything starts, a function that cannot be called with these arguments."""
    call = ", ".join(["worker", *arguments])
    way = f"\nWrite def train({call}): ..., and pass run the function itself"
    if not callable(train):
        raise InvalidInputError(f"train must be a function, got a {type(train).__qualname__}{way}")
    kinds = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    if any(is_of(train) for is_of in kinds):
        raise InvalidInputError(
            "train is a generator or a coroutine, so that to call it runs nothing of it"
            "\nLet it return its result; one that is async goes into asyncio.run(...)"
        )
    try:
        signature = inspect.signature(train)
    except (TypeError, ValueError):  # a built-in function may have no signature
        return
    own = set(inspect.signature(Distributor.run).parameters) - {"self", "train", "df", "arguments"}
    bound = getattr(train, "keywords", {})  # of a functools.partial
    for taken in signature.parameters:
        if taken in own and taken not in bound:
            raise InvalidInputError(
                f"train has an argument {taken!r}, which run takes for itself\n"
                f"Rename it, or bind it: run(functools.partial(train, {taken}=...), ...)"
            )
    try:
        signature.bind("worker", **arguments)
    except TypeError as error:
        raise InvalidInputError(f"train cannot be called as train({call}): {error}{way}") from None


def _checked_environment(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return variables of the environment, which are text alone."""
    for name, value in (given or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInputError(
                f"environment has {name!r}: {value!r}, and variables are text\n"
                f"Write environment={{{str(name)!r}: {str(value)!r}}}"
            )
    return dict(given or {})
