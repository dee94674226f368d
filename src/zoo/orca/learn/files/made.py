"""The state of a model that nothing has trained yet."""

from pyspark.sql import functions as F
from pyspark.sql import types as T

from zoo.orca.context.sessions import known_session
from zoo.orca.driver.frame.source import without_any_rows
from zoo.orca.errors import StateError
from zoo.orca.learn.requests import Requests
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.packing import State


def made_state(requests: Requests) -> State:
    """Return the state that a `fit` would begin with: a short job makes the model, without rows.

    Raises
    ------
    StateError
        If there is no session to run it in.
    """
    spark = known_session()
    if spark is None:
        raise StateError(
            "there is nothing to save yet, and no session to make the model in\n"
            "Call init_orca_context() first; or fit or load"
        )
    frame = without_any_rows(spark, 1).select(F.lit(None).cast(T.IntegerType()).alias("c0"))
    return State.from_bytes(requests.build(None, frame, FeatureSpec(features=())).run().state)
