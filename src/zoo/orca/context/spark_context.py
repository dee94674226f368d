"""The SparkContext that `init_orca_context` returns, which answers for its session, too.

The original returns a SparkContext, and its programs call ``sc.parallelize``. Whoever writes today
calls the same object ``spark``, and expects ``spark.read`` of it.
"""

from typing import Any

from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession


class OrcaSparkContext(SparkContext):
    """A session's SparkContext with the methods of the session beside its own.

    Of what both have it is the SparkContext, but for `range`. The SparkContext that the session
    knows stays as it is, for programs that were written for that; both are the same one.

    Parameters
    ----------
    context : SparkContext
    """

    def __new__(cls, context: SparkContext) -> "OrcaSparkContext":
        """Make another object of the one context: a second context cannot be."""
        made = object.__new__(cls)
        made.__dict__ = context.__dict__
        return made

    def __init__(self, context: SparkContext) -> None:
        # What the context is it has been for long.
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparkContext) and other.__dict__ is self.__dict__

    def __hash__(self) -> int:
        return id(self.__dict__)

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


def _session() -> SparkSession:
    return SparkSession.builder.getOrCreate()
