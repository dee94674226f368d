"""What all estimators of Keras models share: Orca's `fit`, `evaluate` and `predict`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from pyspark.sql import DataFrame

from zoo.orca.driver.frame.source import ColumnNames, read_spec
from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import (
    check_creator,
    check_engine,
    checked_config,
    checked_frame,
    class_weights,
    frequency,
    ignore_data_config,
    positive,
)
from zoo.orca.learn.keras_saving import KerasFiles
from zoo.orca.learn.options import EngineOptions
from zoo.orca.learn.outputs import OutputNames
from zoo.orca.learn.results import TrainingStats
from zoo.orca.wire.job import ModelSpec
from zoo.orca.wire.packing import pack

#: Engines of the original.
_ENGINES = ("tf2", "ray", "horovod", "spark")

#: What TensorFlow prints on a machine without a GPU, before it heeds a log level.
_NOISE = (
    "before absl::InitializeLog()",
    "cudart_stub.cc",
    "cuda_platform.cc",
    "oneDNN custom operations are on",
)


class KerasEstimator(KerasFiles):
    """Trains Keras models of any version and reports in Keras's terms."""

    #: The plug-in's name.
    _framework: ClassVar[str]

    @classmethod
    def from_keras(
        cls,
        *,
        model_creator: Callable[[dict[str, Any]], Any],
        config: Mapping[str, Any] | None = None,
        verbose: bool = False,
        workers_per_node: int = 1,
        compile_args_creator: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        backend: str = "tf2",
        cpu_binding: bool = False,
        model_dir: str | None = None,
        log_to_driver: bool = True,
        num_workers: int | None = None,
        seed: int = 0,
        num_gpus_per_worker: int = 0,
        min_workers: int | None = None,
    ) -> Self:
        """Return an estimator for the model that `model_creator` returns.

        Parameters
        ----------
        model_creator : callable
            ``model_creator(config)`` runs on every worker and returns a Keras model, compiled for
            `fit` and `evaluate` unless `compile_args_creator` is given. Import the framework
            inside it.
        config : dict, optional
            The argument for the creators. `batch_size` belongs to `fit`, not here.
        verbose : bool
            Accepted as in Orca; `fit` and `evaluate` have their own `verbose`.
        workers_per_node : int
            Workers on each node of the cluster.
        compile_args_creator : callable, optional
            ``compile_args_creator(config)`` returns the keyword arguments for `Model.compile`.
        backend : str
            "tf2", "ray", "horovod" or "spark"; all mean the same engine.
        cpu_binding : bool
            Whether each worker keeps to its own cores.
        model_dir : str, optional
            A directory that driver and workers reach, for checkpoints.
        log_to_driver : bool
            Whether to show lines that workers print.
        num_workers : int, optional
            Workers in all; by default `workers_per_node` on each node, one on a single machine.
        seed : int
            Fixes the placement and order of rows and the initial weights.
        num_gpus_per_worker : int
            GPUs that each worker, and each task of `predict`, has to itself.
        min_workers : int, optional
            The fewest workers. If executors are lost in mid-training and do not come back within
            ``spark.orca.elastic.patience`` (60 s), `fit` goes on from the newest checkpoint with
            the workers that fit, and takes more at the end of an epoch once there are slots again.
            Needs `model_dir`. By default all workers are needed.

        Raises
        ------
        CreatorError
            If a creator cannot be sent to the workers; names the object at fault.
        InvalidInputError
            If an argument cannot be used.
        """
        return cls._make(
            cls._environment(),
            model_creator=model_creator,
            config=config,
            workers_per_node=workers_per_node,
            compile_args_creator=compile_args_creator,
            backend=backend,
            cpu_binding=cpu_binding,
            model_dir=model_dir,
            log_to_driver=log_to_driver,
            num_workers=num_workers,
            seed=seed,
            num_gpus_per_worker=num_gpus_per_worker,
            min_workers=min_workers,
        )

    @classmethod
    def _environment(cls) -> dict[str, str]:
        """Return the environment variables that choose Keras on the workers."""
        return {}

    @property
    def _numbers_only(self) -> str:
        """The framework's name, if it has no tensors of strings."""
        return ""

    @classmethod
    def _make(
        cls,
        environment: Mapping[str, str],
        *,
        model_creator: Callable[[dict[str, Any]], Any],
        config: Mapping[str, Any] | None,
        compile_args_creator: Callable[[dict[str, Any]], dict[str, Any]] | None,
        backend: str,
        **options: Any,
    ) -> Self:
        """Check the arguments of `from_keras`; `options` go to `EngineOptions`."""
        check_creator("model_creator", model_creator, "a compiled model", "config")
        if compile_args_creator is not None:
            arguments = "the keyword arguments of Model.compile, as a dict"
            check_creator("compile_args_creator", compile_args_creator, arguments, "config")
        check_engine(backend, _ENGINES)
        model = ModelSpec(
            framework=cls._framework,
            creator=pack(model_creator, "model_creator"),
            config=pack(checked_config(config), "config"),
            compile_args=pack(compile_args_creator, "compile_args_creator")
            if compile_args_creator
            else None,
        )
        environment = {**environment, "TF_CPP_MIN_LOG_LEVEL": "2"}
        return cls(model, EngineOptions(environment=environment, noise=_NOISE, **options))

    def fit(
        self,
        data: DataFrame,
        epochs: int = 1,
        batch_size: int = 32,
        verbose: int | str = 1,
        callbacks: Sequence[Any] | None = None,
        validation_data: DataFrame | None = None,
        class_weight: Mapping[int, float] | None = None,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        data_config: Mapping[str, Any] | None = None,
        feature_cols: ColumnNames | None = None,
        label_cols: ColumnNames | None = None,
        *,
        sample_weight_col: str | Mapping[str, str] | None = None,
        initial_epoch: int | None = None,
        profile: bool = False,
        shuffle: bool | None = None,
        name: str | None = None,
    ) -> TrainingStats:
        """Train the model; a second `fit` continues where the first ended.

        Parameters
        ----------
        data : DataFrame
            The rows to train on.
        epochs : int
            Epochs to train. With `initial_epoch`, as in Keras, the number of the last epoch.
        batch_size : int
            Rows of one step over all workers together.
        verbose : int or "auto"
            0 shows nothing; anything else shows progress.
        callbacks : list, optional
            Callbacks of the model's own Keras. They run on every worker and see the same logs
            everywhere. Those that write files do so on rank 0.
        validation_data : DataFrame, optional
            Has the same feature and label columns as `data`.
        class_weight : dict of int to float, optional
            Weights of classes, by the labels' numbers. Other classes weigh 1.
        steps_per_epoch : int, optional
            Global batches an epoch; by default one exact pass: every row once.
        validation_steps : int, optional
            Global batches of each validation; by default one exact pass.
        validation_freq : int or list of int
            Validate after every n-th epoch, or after the listed epochs (counted from 1).
        data_config : dict, optional
            For Orca's data creators; has no meaning for a DataFrame.
        feature_cols : list of str, str or dict
            The model's inputs: ``{"input name": "column"}``, or a list. A list is matched by name
            if the columns' names are exactly the inputs' names, else by position.
        label_cols : list of str, str or dict
            The labels, in the same way: ``{"output name": "column"}``, or a list.
        sample_weight_col : str or dict, optional
            A column of weights, one number a row; or ``{"output name": "column"}``, and rows weigh
            1 for all other outputs.
        initial_epoch : int, optional
            The number of the first epoch; by default where the last `fit` ended.
        profile : bool
            Whether to print where the time goes on each worker: the phases of the job and the parts
            of a step. The result has the figures in ``.profiles``, too.
        shuffle : True, optional
            Place the rows on the workers at random, by `seed`, even if `data` already has a
            partition for each worker. By default such a DataFrame stays as it is. Use this if
            partitions hold very different rows. The order within each epoch is random either way.
        name : str, optional
            A label for the lines, the bar and the stage in Spark's UI. It tells concurrent calls
            apart.

        Returns
        -------
        TrainingStats
            A dict of the last epoch's values with `train_` names, and `.history` of all epochs.

        Raises
        ------
        ColumnError
            If a column is missing or cannot be an input; before anything starts.
        DataError
            If rows hold nulls or ragged arrays, or there are none.
        WorkerError
            If something goes wrong on a worker; has its rank, host, traceback and log.
        """
        frame = checked_frame(data, "data")
        ignore_data_config(data_config)
        first, last = self._epochs(epochs, initial_epoch)
        request = self._requests.fit(
            self._state,
            frame,
            read_spec(
                frame, feature_cols, label_cols, sample_weight_col, numbers_only=self._numbers_only
            ),
            validation_data,
            epochs=last - first,
            initial_epoch=first,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_freq=frequency(validation_freq),
            class_weight=class_weights(class_weight),
            callbacks=callbacks,
            verbose=verbose,
            profile=profile,
            shuffle=shuffle,
            name=name,
        )
        return self._train(request)

    def evaluate(
        self,
        data: DataFrame,
        batch_size: int = 32,
        num_steps: int | None = None,
        verbose: int | str = 1,
        sample_weight: None = None,
        callbacks: Sequence[Any] | None = None,
        data_config: Mapping[str, Any] | None = None,
        feature_cols: ColumnNames | None = None,
        label_cols: ColumnNames | None = None,
        *,
        sample_weight_col: str | Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> dict[str, float]:
        """Evaluate the model over all rows, each exactly once, or over the first batches.

        Parameters
        ----------
        data : DataFrame
        batch_size : int
            Rows of one batch over all workers together.
        num_steps : int, optional
            Global batches from the first row; by default one exact pass.
        verbose : int or "auto"
            0 shows nothing.
        sample_weight : None
            Only `sample_weight_col` can give weights to a DataFrame's rows.
        callbacks : list, optional
        data_config : dict, optional
            Has no meaning for a DataFrame.
        feature_cols, label_cols : list of str, str or dict
            As in `fit`.
        sample_weight_col : str or dict, optional
        name : str, optional
            As in `fit`.

        Returns
        -------
        dict of str to float
            Loss and metrics with `validation_` names.

        Raises
        ------
        ColumnError, DataError, WorkerError
            As `fit`.
        """
        frame = checked_frame(data, "data")
        ignore_data_config(data_config)
        if sample_weight is not None:
            raise InvalidInputError(
                "sample_weight: an array cannot be matched to a DataFrame's rows\nName a column "
                "with sample_weight_col"
            )
        features, labels = self._known_columns(feature_cols, label_cols)
        request = self._requests.evaluate(
            self._state,
            frame,
            read_spec(frame, features, labels, sample_weight_col, numbers_only=self._numbers_only),
            batch_size=batch_size,
            num_steps=num_steps,
            callbacks=callbacks,
            verbose=verbose,
            name=name,
        )
        return self._evaluate(request)

    def predict(
        self,
        data: DataFrame,
        batch_size: int | None = None,
        verbose: int | str = 1,
        steps: None = None,
        callbacks: None = None,
        data_config: Mapping[str, Any] | None = None,
        feature_cols: ColumnNames | None = None,
        output_cols: OutputNames | None = None,
    ) -> DataFrame:
        """Return `data` with the model's outputs appended; nothing runs until an action.

        Before any `fit` or `load`, a small job builds the model once, and every task predicts with
        its weights.

        Parameters
        ----------
        data : DataFrame
        batch_size : int, optional
            The most rows the model sees at once, to limit memory. By default Orca chooses: up to
            65,536, fewer for a model whose rows need much memory. Results do not depend on it.
        verbose : int
            Accepted as in Orca; a lazy call has nothing to show.
        steps, callbacks : None
            Must be None: a prediction covers every row.
        data_config : dict, optional
            Has no meaning for a DataFrame.
        feature_cols : list of str, str or dict
            As in `fit`.
        output_cols : str or list of str, optional
            Names for the outputs' columns; by default ``prediction``, or ``prediction_0``, … for
            several outputs.

        Returns
        -------
        DataFrame
            All columns of `data`, and each row's slice of each output: float for an output of
            rank 1, a Vector for rank 2, nested arrays of float for a higher rank.
        """
        frame = checked_frame(data, "data")
        ignore_data_config(data_config)
        if steps is not None or callbacks is not None:
            raise InvalidInputError(
                "predict takes neither steps nor callbacks: it is lazy and covers every row\nUse "
                "data.limit(n) for fewer rows"
            )
        positive("batch_size", batch_size, optional=True)
        features, _ = self._known_columns(feature_cols)
        spec = read_spec(frame, features, numbers_only=self._numbers_only)
        return self._predict(frame, spec, batch_size, output_cols)

    def _epochs(self, epochs: int, initial_epoch: int | None) -> tuple[int, int]:
        """Return the number of the first epoch, and that of the epoch after the last."""
        positive("epochs", epochs)
        if initial_epoch is None:
            return self._epochs_done, self._epochs_done + epochs
        positive("initial_epoch", initial_epoch, optional=True, least=0)
        if epochs <= initial_epoch:
            raise InvalidInputError(
                f"epochs={epochs} ends before initial_epoch={initial_epoch} begins\n"
                "Give epochs the number of the last epoch, or leave initial_epoch out"
            )
        return initial_epoch, epochs
