"""Trains over Spark Connect where no worker reaches this machine; tells the numbers as JSON."""

import json
import sys
import time

from tests.connect.client import be_a_client

#: The columns of the rows: the same numbers wherever they are made.
ROWS = "(id % 17) / 17.0D AS x", "(id % 17) / 5.0D AS y"


def trained(data, workers):
    """Return the numbers of a fit, an evaluate and a predict."""
    from tests.fake_estimator import FakeEstimator, linear

    est = FakeEstimator.of(linear(1), workers)
    began = time.monotonic()
    history = est.fit(data, epochs=2, validation=data).history
    return {
        "seconds": time.monotonic() - began,
        "weight": float(est.weights[0]),
        "history": history,
        "evaluated": est.evaluate(data),
        "predicted": sum(row.prediction for row in est.predict(data).collect()),
    }


def main():
    be_a_client()
    from zoo.orca import init_orca_context, stop_orca_context

    spark = init_orca_context("connect", remote=sys.argv[1])
    data = spark.range(0, 100, 1, 3).selectExpr(*ROWS)
    print(json.dumps({workers: trained(data, workers) for workers in (1, 2)}))
    stop_orca_context()


if __name__ == "__main__":
    main()
