"""What an estimator of PyTorch models does: Orca's `fit`, `evaluate` and `predict`."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.orca.driver.frame.source import ColumnNames
from zoo.orca.driver.reports.epochs import Stop
from zoo.orca.learn.arguments import positive
from zoo.orca.learn.ended import needs_session
from zoo.orca.learn.forms.entry import entered_both
from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.outputs import OutputNames
from zoo.orca.learn.predicting.output_types import Labels, OutputTypes, Threshold, Wanted
from zoo.orca.learn.pytorch.options import packed_info, training_options
from zoo.orca.learn.pytorch.stats import EpochStats, by_worker, evaluation
from zoo.orca.learn.saved.torch import FromSavedTorch
from zoo.orca.learn.trigger import steps_between
from zoo.orca.wire.torch_options import TorchOptions

#: What PyTorch accepts as columns.
_NUMBERS: dict[str, Any] = {"numbers_only": "PyTorch", "weights_by_output": False}


class Estimator(FromSavedTorch):
    """Trains a PyTorch model on Spark DataFrames. Make one with `from_torch`."""

    @needs_session
    def fit(
        self,
        data: Any,
        epochs: int = 1,
        batch_size: int = 32,
        profile: bool = False,
        reduce_results: bool = True,
        info: Mapping[str, Any] | None = None,
        feature_cols: ColumnNames | None = None,
        label_cols: ColumnNames | None = None,
        validation_data: Any = None,
        callbacks: Sequence[Any] | None = None,
        max_steps: int | None = None,
        *,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        sample_weight_col: str | None = None,
        gradient_accumulation: int = 1,
        clip_grad_norm: float | None = None,
        precision: str = "fp32",
        compile: bool = False,
        verbose: int | str = 1,
        shuffle: bool | None = None,
        training_metrics: bool | None = None,
        name: str | None = None,
        checkpoint_steps: int | None = None,
        checkpoint_seconds: float | None = None,
        resume: bool = False,
        checkpoint_trigger: Any = None,
        stop: Stop | None = None,
    ) -> Any:
        """Train the model; a second `fit` continues where the first ended.

        Parameters
        ----------
        data : DataFrame, pandas or Arrow table, dict of arrays, or data creator
            The rows to train on. Arrays by name are columns; those of ``{"x": ..., "y": ...}``,
            each one or several, need no `feature_cols` and `label_cols`.
        epochs : int
            Epochs to train; ignored with `max_steps`.
        batch_size : int
            Rows of one step over all workers together.
        profile : bool
            Whether to print where the time goes on each worker.
        reduce_results : bool
            False returns, for each epoch, a list of each worker's own ``train_loss`` and
            ``num_samples``, instead of the results over all workers.
        info : dict, optional
            Passed to the operator's hooks.
        feature_cols : list of str, str or dict
            The model's inputs in order, ``model(*features)``; or ``{"keyword": "column"}``.
            Scalars have shape (batch,).
        label_cols : list of str, str or dict
            The target; several are a tuple, or a dict by name. Whole numbers of the output's shape
            are cast to its type, others become int64. Floats that are class numbers for
            `CrossEntropyLoss` or `NLLLoss` become int64, too.
        validation_data : DataFrame or another form, optional
            Has the same feature and label columns as `data`, and need not have its form.
        callbacks : list, optional
            Callbacks of `zoo.orca.learn.pytorch.callbacks`.
        max_steps : int, optional
            Steps to train, in as many epochs as needed; the last epoch may be cut short.
        steps_per_epoch : int, optional
            Global batches an epoch; by default one exact pass: every row once.
        validation_steps : int, optional
            Global batches of each validation; by default one exact pass.
        sample_weight_col : str, optional
            A column of weights, one number a row. The loss is the mean over rows of weight times
            loss: weights do not change the divisor.
        gradient_accumulation : int
            Batches for each update, which equals the update of one large batch. Only 1 is accepted
            with an operator or a `MainCallback` that runs the steps: it decides itself when its
            optimizer steps.
        clip_grad_norm : float, optional
            The largest norm of the global gradient.
        precision : "fp32" or "bf16"
            "bf16" runs the forward pass under autocast; weights and gradients stay float32.
        compile : bool
            Whether to use `torch.compile`, which needs a C++ compiler on the workers.
        verbose : int or "auto"
            0 shows nothing.
        shuffle : True, optional
            Place the rows on the workers at random, even if `data` already has a partition for
            each worker.
        training_metrics : bool, optional
            Whether to compute the estimator's metrics on the training steps' outputs, too, while
            weights change, as Keras does: ``train_Accuracy`` beside ``train_val_Accuracy``. By
            default this includes the metrics that do not keep every row.
        name : str, optional
            A label for the lines, the bar and the stage in Spark's UI. It tells concurrent calls
            apart.
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
        EpochStats
            A list with a dict for each epoch, which also has the last epoch's values by `train_`
            names, and `.history`.

        Raises
        ------
        ColumnError
            If a column is missing or cannot be an input; before anything starts.
        DataError
            If there are no rows, rows hold nulls or ragged arrays, or a label is not a class.
        WorkerError
            If something goes wrong on a worker; has its rank, host, traceback and log.
        """
        given, validation = entered_both(
            data, validation_data, Columns(feature_cols, label_cols, sample_weight_col)
        )
        epochs = positive("epochs", epochs)
        max_steps = positive("max_steps", max_steps, optional=True)
        options = training_options(
            first_step=self._steps_done,
            reduce_results=reduce_results,
            info=info,
            max_steps=max_steps,
            gradient_accumulation=gradient_accumulation,
            clip_grad_norm=clip_grad_norm,
            precision=precision,
            compile=compile,
            training_metrics=training_metrics,
            insist_on_optimizer=self._insists,
        )
        first = self._epochs_done
        request = self._requests.fit(
            self._state,
            given.frame,
            given.spec(self._read_spec, **_NUMBERS),
            validation,
            creators=given.creators,
            # max_steps is an upper bound: only the workers know the steps of an epoch.
            epochs=max_steps or epochs,
            initial_epoch=first,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
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
            options=options,
        )
        stats = self._train(request, keep=checkpoint_trigger is not None)
        self._insists = False
        return EpochStats(stats, first) if reduce_results else by_worker(stats, first)

    @needs_session
    def evaluate(
        self,
        data: Any,
        batch_size: int = 32,
        num_steps: int | None = None,
        profile: bool = False,
        info: Mapping[str, Any] | None = None,
        feature_cols: ColumnNames | None = None,
        label_cols: ColumnNames | None = None,
        *,
        sample_weight_col: str | None = None,
        callbacks: Sequence[Any] | None = None,
        verbose: int | str = 1,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Evaluate the model over all rows, each exactly once, or over the first batches.

        Parameters
        ----------
        data : DataFrame, pandas or Arrow table, dict of arrays, or data creator
        batch_size : int
            Rows of one batch over all workers together.
        num_steps : int, optional
            Global batches from the first row; by default one exact pass.
        profile : bool
            Accepted as in Orca; only `fit` has a profile.
        info : dict, optional
            Passed to the operator's `validate`.
        feature_cols, label_cols, sample_weight_col, callbacks, verbose, name : optional
            As in `fit`.

        Returns
        -------
        dict
            Loss and metrics with `validation_` names; and, under Orca's names, ``val_loss``, each
            metric by its own, and ``num_samples``, the rows.

        Raises
        ------
        ColumnError, DataError, WorkerError
            As `fit`.
        """
        given = self._entered(data, feature_cols, label_cols, sample_weight_col)
        request = self._requests.evaluate(
            self._state,
            given.frame,
            given.spec(self._read_spec, **_NUMBERS),
            creators=given.creators,
            batch_size=batch_size,
            num_steps=num_steps,
            callbacks=callbacks,
            verbose=verbose,
            name=name,
            options=TorchOptions(info=packed_info(info)),
        )
        return evaluation(request.run().metrics)

    @needs_session
    def predict(
        self,
        data: Any,
        batch_size: int | None = None,
        feature_cols: ColumnNames | None = None,
        profile: bool = False,
        *,
        output_cols: OutputNames | None = None,
        callbacks: Sequence[Any] | None = None,
        output_type: OutputTypes = None,
        labels: Labels | None = None,
        threshold: Threshold | None = None,
    ) -> Any:
        """Return `data`, in its own form, with the model's outputs appended.

        Where `data` is in Spark, nothing runs until an action.

        Parameters
        ----------
        data : DataFrame, pandas or Arrow table, dict of arrays, or data creator
        batch_size : int, optional
            The most rows the model sees at once, to limit memory; by default Orca chooses. Results
            do not depend on it.
        feature_cols : list of str, str or dict
            As in `fit`.
        profile : bool
            Accepted as in Orca; a lazy call has nothing to show.
        output_cols : str or list of str, optional
            Names for the columns; by default ``prediction``, or ``prediction_0``, … for several.
            "prediction" for several adds a column of this name with all of them.
        callbacks : list, optional
            Their methods ``before_pred_epoch``, ``before_pred_iter`` and so on are told of each
            task's part and of each call of the model. A `MainCallback` may have `on_pred_forward`.
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
            All of `data`, and each row's slice of each output: float for an output of shape
            (batch,), a Vector for (batch, n), or an array outside of Spark, nested arrays for more.
        """
        positive("batch_size", batch_size, optional=True)
        wanted = Wanted(output_type=output_type, labels=labels, threshold=threshold)
        given = self._entered(data, feature_cols)
        if given.creators is not None:
            wanted.refuse_for_creators()
            return self._predict_created(given.frame, given.creators, batch_size)
        spec = self._read_spec(given.frame, given.columns.features, **_NUMBERS)
        telling = self._with_callbacks(callbacks)
        return telling._predict(given, spec, batch_size, output_cols, wanted)

    def shutdown(self, force: bool = False) -> None:
        """Release what is held on the cluster; saving, loading and predicting still work."""
        super().shutdown()
