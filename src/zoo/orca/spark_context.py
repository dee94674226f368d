"""The SparkContext that `init_orca_context` returns, which answers for its session, too.

The original returns a SparkContext, and its programs call ``sc.parallelize``. Whoever writes today
calls the same object ``spark``, and expects ``spark.read`` of it.
"""

from typing import Any, cast

from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession


class OrcaSparkContext(SparkContext):
    """A SparkContext with the methods of its SparkSession beside its own.

    Of what both have it is the SparkContext, but for `range`.
    """

    def range(  # type: ignore[override]
        self, start: int, end: int | None = None, step: int = 1, numSlices: int | None = None
    ) -> DataFrame:
        """Return a DataFrame of one column ``id``, as a session does; ``.rdd`` of it is an RDD."""
        return _session().range(start, end, step, numSlices)

    def __getattr__(self, name: str) -> Any:
        # Only what a SparkContext does not have is looked up here.
        if name.startswith("_") or not hasattr(SparkSession, name):
            raise AttributeError(
                f"neither SparkContext nor SparkSession has an attribute {name!r}", name=name
            )
        return getattr(_session(), name)

    def __dir__(self) -> list[str]:
        names = (name for name in dir(SparkSession) if not name.startswith("_"))
        return sorted({*super().__dir__(), *names})


def with_session(context: SparkContext) -> OrcaSparkContext:
    """Let `context` answer for its session, too; it stays the object that it is."""
    if not isinstance(context, OrcaSparkContext):
        context.__class__ = OrcaSparkContext
    return cast(OrcaSparkContext, context)


def _session() -> SparkSession:
    return SparkSession.builder.getOrCreate()
