"""Properties of a thread's Spark jobs: set for a block, then put back as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from zoo.orca.driver.reports.spark_failures import spark_errors

if TYPE_CHECKING:  # a Python that has Spark Connect alone has no contexts
    from pyspark import SparkContext


def has_own_properties(context: SparkContext) -> bool:
    """Whether each Python thread has properties of its own.

    Without PYSPARK_PIN_THREAD, Python threads share the JVM's threads.
    """
    from py4j.clientserver import ClientServer

    return isinstance(context._gateway, ClientServer)


@contextlib.contextmanager
def local_property(context: SparkContext, key: str, value: str) -> Iterator[None]:
    """Set a property of the jobs that this thread starts in the block; put the user's back."""
    before = context.getLocalProperty(key)
    context.setLocalProperty(key, value)
    try:
        yield
    finally:
        # The session may have been stopped meanwhile; then there is nothing to put back, and the
        # user must see that error.
        if context._jsc is not None:
            with contextlib.suppress(*spark_errors()):
                context.setLocalProperty(key, before)  # type: ignore[arg-type]
