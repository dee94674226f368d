"""What all estimators of Keras models share: Orca's `fit`, `evaluate` and `predict`."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.orca.driver.frame.source import ColumnNames
from zoo.orca.driver.reports.epochs import Stop
from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import (
    class_weights,
    frequency,
    ignore_data_config,
    positive,
)
from zoo.orca.learn.ended import needs_session
from zoo.orca.learn.forms.entry import entered_both
from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.outputs import OutputNames
from zoo.orca.learn.predicting.output_types import Labels, OutputTypes, Threshold, Wanted
from zoo.orca.learn.results import TrainingStats
from zoo.orca.learn.saved.keras import FromSavedKeras
from zoo.orca.learn.trigger import steps_between
from zoo.orca.refusals import refuse


class KerasEstimator(FromSavedKeras):
    """Trains Keras models of any version and reports in Keras's terms."""

    @needs_session
    def fit(
        self,
        data: Any,
        epochs: int = 1,
        batch_size: int = 32,
        verbose: int | str = 1,
        callbacks: Sequence[Any] | None = None,
        validation_data: Any = None,
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
        checkpoint_steps: int | None = None,
        checkpoint_seconds: float | None = None,
        resume: bool = False,
        checkpoint_trigger: Any = None,
        stop: Stop | None = None,
    ) -> TrainingStats:
        """Train the model; a second `fit` continues where the first ended.

        Parameters
        ----------
        data : DataFrame, pandas or Arrow table, dict of arrays, or data creator
            The rows to train on. Arrays by name are columns; those of ``{"x": ..., "y": ...}``,
            each one or several, need no `feature_cols` and `label_cols`.
        epochs : int
            Epochs to train. With `initial_epoch`, as in Keras, the number of the last epoch.
        batch_size : int
            Rows of one step over all workers together.
        verbose : int or "auto"
            0 shows nothing; anything else shows progress.
        callbacks : list, optional
            Of the model's own Keras. They run on every worker and see the same logs everywhere.
            Those that write files do so on rank 0.
        validation_data : DataFrame or another form, optional
            Has the same feature and label columns as `data`, and need not have its form.
        class_weight : dict of int to float, optional
            Weights of classes, by the labels' numbers. Other classes weigh 1.
        steps_per_epoch : int, optional
            Global batches an epoch; by default one exact pass: every row once.
        validation_steps : int, optional
            Global batches of each validation; by default one exact pass.
        validation_freq : int or list of int
            Validate after every n-th epoch, or after the listed epochs (counted from 1).
        data_config : dict, optional
            What a data creator's `config` has beside the estimator's.
        feature_cols : list of str, str or dict
            The model's inputs: ``{"input name": "column"}``, or a list. A list is matched by name
            if the columns' names are exactly the inputs' names, else by position.
        label_cols : list of str, str or dict
            The labels, in the same way: ``{"output name": "column"}``, or a list.
        sample_weight_col : str or dict, optional
            A column of one weight a row; or ``{"output name": "column"}``, others weighing 1.
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
            A label for the lines and the stage in Spark's UI; it tells concurrent calls apart.
        checkpoint_steps, checkpoint_seconds : number, optional
            Write a checkpoint to `model_dir` after so many steps of an epoch, or about every so
            many seconds, while training goes on. There is always one at an epoch's end.
        resume : bool
            Go on, within the epoch, where a program that was ended left this `fit` in `model_dir`.
        checkpoint_trigger : EveryEpoch or SeveralIteration, optional
            Of `zoo.orca.learn.trigger`: writes checkpoints to `model_dir` then. At the end, the
            state is there as ``model.STEP.safetensors``, which `latest_checkpoint` finds.
        stop : callable, optional
            Asked on the driver after each epoch, with its number (``.epoch``, from 1) and what it
            adds to the history (``.logs``). If it returns true, the training ends with this epoch.

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
        given, validation = entered_both(
            data,
            validation_data,
            Columns(feature_cols, label_cols, sample_weight_col),
            data_config,
        )
        ignore_data_config(data_config, data)
        first, last = self._epochs(epochs, initial_epoch)
        request = self._requests.fit(
            self._state,
            given.frame,
            given.spec(self._read_spec, numbers_only=self._numbers_only),
            validation,
            creators=given.creators,
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
            shuffle=given.shuffle(shuffle),
            name=name,
            checkpoint_steps=steps_between(
                checkpoint_trigger, checkpoint_steps, self._options.model_dir
            ),
            checkpoint_seconds=checkpoint_seconds,
            resume=resume,
            stop=stop,
        )
        return self._train(request, keep=checkpoint_trigger is not None)

    @needs_session
    def evaluate(
        self,
        data: Any,
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
        data : DataFrame, pandas or Arrow table, dict of arrays, or data creator
        batch_size : int
            Rows of one batch over all workers together.
        num_steps : int, optional
            Global batches from the first row; by default one exact pass.
        verbose : int or "auto"
        sample_weight : None
            Only `sample_weight_col` can give weights to a DataFrame's rows.
        callbacks, data_config : optional
        feature_cols, label_cols, sample_weight_col, name : optional
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
        ignore_data_config(data_config, data)
        if sample_weight is not None:
            raise InvalidInputError(
                "sample_weight: an array cannot be matched to a DataFrame's rows\nName a column "
                "with sample_weight_col"
            )
        given = self._entered(
            data, feature_cols, label_cols, sample_weight_col, data_config=data_config
        )
        request = self._requests.evaluate(
            self._state,
            given.frame,
            given.spec(self._read_spec, numbers_only=self._numbers_only),
            creators=given.creators,
            batch_size=batch_size,
            num_steps=num_steps,
            callbacks=callbacks,
            verbose=verbose,
            name=name,
        )
        return self._evaluate(request)

    @needs_session
    def predict(
        self,
        data: Any,
        batch_size: int | None = None,
        verbose: int | str = 1,
        steps: None = None,
        callbacks: None = None,
        data_config: Mapping[str, Any] | None = None,
        feature_cols: ColumnNames | None = None,
        output_cols: OutputNames | None = None,
        *,
        output_type: OutputTypes = None,
        labels: Labels | None = None,
        threshold: Threshold | None = None,
    ) -> Any:
        """Return `data`, in its own form, with the model's outputs appended.

        Where `data` is in Spark, nothing runs until an action.

        Before any `fit` or `load`, a small job builds the model once, and every task predicts with
        its weights.

        Parameters
        ----------
        data : DataFrame, pandas or Arrow table, dict of arrays, or data creator
        batch_size : int, optional
            The most rows the model sees at once, to limit memory. By default Orca chooses: up to
            65,536, fewer for a model whose rows need much memory. Results do not depend on it.
        verbose : int
            Accepted as in Orca; a lazy call has nothing to show.
        steps, callbacks : None
            Must be None: a prediction covers every row.
        data_config : dict, optional
            What a data creator's `config` has beside the estimator's.
        feature_cols : list of str, str or dict
            As in `fit`.
        output_cols : str or list of str, optional
            Names for the columns; by default ``prediction``, or ``prediction_0``, … for several.
            "prediction" for several adds a column of this name with all of them.
        output_type : str, list or dict, optional
            What the columns hold: "array", "vector", "scalar" (the number of an output of one
            number), or "class" (the index of the largest, or 0 or 1 for one number); a list or a
            dict by name for several outputs. By default it follows the output's shape.
        labels : list or dict, optional
            Names for the classes, in the order of their numbers.
        threshold : float or dict, optional
            What one number must exceed to be class 1; by default 0.5 for a probability, 0 for a
            logit, where the model tells which it is.

        Returns
        -------
        as `data`
            All of `data`, and each row's slice of each output: float for an output of
            rank 1, a Vector for rank 2, nested arrays of float for a higher rank. Forms that are
            not Spark's have arrays in place of Vectors.
        """
        ignore_data_config(data_config, data)
        if steps is not None or callbacks is not None:
            raise InvalidInputError(
                "predict takes neither steps nor callbacks: it is lazy and covers every row\nUse "
                "data.limit(n) for fewer rows"
            )
        positive("batch_size", batch_size, optional=True)
        wanted = Wanted(output_type=output_type, labels=labels, threshold=threshold)
        given = self._entered(data, feature_cols, data_config=data_config)
        if given.creators is not None:
            wanted.refuse_for_creators()
            return self._predict_created(given.frame, given.creators, batch_size)
        spec = self._read_spec(given.frame, given.columns.features, numbers_only=self._numbers_only)
        return self._predict(given, spec, batch_size, output_cols, wanted)

    def _epochs(self, epochs: int, initial_epoch: int | None) -> tuple[int, int]:
        """Return the number of the first epoch, and that of the epoch after the last."""
        epochs = positive("epochs", epochs)
        if initial_epoch is None:
            return self._epochs_done, self._epochs_done + epochs
        first = positive("initial_epoch", initial_epoch, optional=True, least=0) or 0
        if epochs <= first:
            refuse(
                InvalidInputError(
                    f"epochs={epochs} ends before initial_epoch={first} begins\n"
                    "Give epochs the number of the last epoch, or leave initial_epoch out"
                )
            )
        return first, max(epochs, first + 1)
