"""Predictions as a function of columns, for every estimator: `predict_udf`."""

from collections.abc import Callable
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession

from zoo.orca.context.context import OrcaContext
from zoo.orca.context.sessions import known_session
from zoo.orca.driver.column_function import column_function
from zoo.orca.driver.frame.source import ColumnNames
from zoo.orca.driver.predict import Answer
from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import positive
from zoo.orca.learn.ended import needs_session
from zoo.orca.learn.estimator import BaseEstimator
from zoo.orca.learn.outputs import OutputNames
from zoo.orca.learn.predicting.output_types import (
    Asks,
    Labels,
    OutputTypes,
    Threshold,
    Wanted,
)
from zoo.orca.wire.features import FeatureSpec


class ColumnPredictions(BaseEstimator):
    """Adds predictions in expressions of Spark."""

    @property
    def _numbers_only(self) -> str:
        """The framework's name, if it has no tensors of strings."""
        return ""

    @needs_session
    def predict_udf(
        self,
        data: DataFrame | None = None,
        *,
        output_type: OutputTypes = None,
        labels: Labels | None = None,
        threshold: Threshold | None = None,
        feature_cols: ColumnNames | None = None,
        output_cols: OutputNames | None = None,
        batch_size: int | None = None,
    ) -> Callable[..., Column]:
        """Return a function of columns that predicts, for `withColumn`, `select`, SQL and streams.

        It takes the model's columns in the order of `feature_cols`, those of a stack one by one, or
        none for those of the same names. ``spark.udf.register("score", est.predict_udf())`` makes
        it a function of SQL. It has the weights of now: a later `fit` does not change it.

        Parameters
        ----------
        data : DataFrame, optional
            Has the columns, for their types; no row of it is predicted. It is needed before any
            `fit`, `load` or `predict`.
        output_type, labels, threshold : optional
            As in `predict`. Several outputs are the fields of a struct.
        feature_cols : list of str, str or dict
            As in `fit`.
        output_cols : str, list of str or dict, optional
            Names for the fields; by default the model's for its outputs.
        batch_size : int, optional
            The most rows the model sees at once; by default Orca chooses.

        Returns
        -------
        callable
            A function of Spark's, from columns to a column.

        Raises
        ------
        ColumnError
            If a column is missing or cannot be an input.
        InvalidInputError
            If an argument cannot be used, or nothing tells the columns' types.
        """
        positive("batch_size", batch_size, optional=True)
        wanted = Wanted(output_type=output_type, labels=labels, threshold=threshold)
        self._model.check()
        frame, spec = self._columns_to_predict(data, feature_cols)
        request = self._prediction(frame, spec, batch_size, output_cols, Answer(), wanted)
        names = request.columns
        if output_cols is None:
            names = tuple(
                one.name if one.named else f"output_{place}"
                for place, one in enumerate(request.job.outputs)
            )
        return column_function(
            frame.sparkSession,
            request.job,
            request.forms or (),
            names,
            "" if self._model.transform is not None else self._numbers_only,
        )

    @needs_session
    def _predict_as(
        self, data: DataFrame, feature_cols: Any, output_cols: OutputNames, wanted: Asks
    ) -> DataFrame:
        """Return rows with predictions as somebody else than `predict` wants them."""
        frame, spec = self._columns_to_predict(data, feature_cols)
        return self._prediction(frame, spec, None, output_cols, Answer(), wanted).run()

    def _columns_to_predict(self, data: Any, feature_cols: Any) -> tuple[DataFrame, FeatureSpec]:
        """Return a frame of the session, and the columns: those of `data`, or those seen."""
        if data is not None:
            given = self._entered(data, feature_cols)
            checks = {"numbers_only": self._numbers_only}
            return given.frame, self._read_spec(given.frame, given.columns.features, **checks)
        seen = self._seen_columns
        known = seen is not None and seen.features and bool(self._outputs)
        if seen is None or not known or feature_cols is not None:
            why = "feature_cols names columns" if known else "the model has seen no columns yet"
            raise InvalidInputError(
                f"{why}, and nothing tells their types\n"
                "Pass a DataFrame that has them: est.predict_udf(df, feature_cols=[...])"
            )
        spark: SparkSession = known_session() or OrcaContext.get_spark_session()
        return spark.range(0), FeatureSpec(features=seen.features, feature_keys=seen.feature_keys)
