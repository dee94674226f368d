"""The SparkContext that `init_orca_context` returns; it has its session's methods, too.

The original returns a SparkContext, and its programs call ``sc.parallelize``. Today's programs name
the same object ``spark`` and call ``spark.read``.
"""

from typing import Any

from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession


class OrcaSparkContext(SparkContext):
    """A session's SparkContext with the methods of the session beside its own.

    If both have a method, the SparkContext's counts, except for `range`. The session keeps its
    plain SparkContext, for programs that were written for it. The two compare equal.

    Parameters
    ----------
    context : SparkContext
    """

    def __new__(cls, context: SparkContext) -> "OrcaSparkContext":
        """Make another object that shares the state of `context`: Spark allows one context."""
        made = object.__new__(cls)
        made.__dict__ = context.__dict__
        return made

    def __init__(self, context: SparkContext) -> None:
        # The shared state is set up already.
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparkContext) and other.__dict__ is self.__dict__

    def __hash__(self) -> int:
        return id(self.__dict__)

    def range(  # type: ignore[override]
        self, start: int, end: int | None = None, step: int = 1, numSlices: int | None = None
    ) -> DataFrame:
        """Return a DataFrame of one column ``id``, as a session does; its ``.rdd`` is an RDD."""
        return _session().range(start, end, step, numSlices)

    def __getattr__(self, name: str) -> Any:
        # Python calls this only for names that a SparkContext does not have.
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
