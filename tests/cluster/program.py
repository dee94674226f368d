"""What the tests run on the cluster: the quick start, from a driver process of its own.

program.py SOURCE EXAMPLES MASTER DIRECTORY quickstart|slots

Prints one JSON line. Each worker's child writes DIRECTORY/children/PID.json when it trains.
"""

import json
import os
import sys
import time
from pathlib import Path

SOURCE, EXAMPLES, MASTER, DIRECTORY, PART = sys.argv[1:]
# Not by PYTHONPATH: Spark would pass that on.
sys.path[:0] = [SOURCE, EXAMPLES]

from models_tf2 import ncf  # noqa: E402
from movielens_ncf import highest, predict_five, read  # noqa: E402
from ratings import MOVIELENS_100K, generate, write_colons  # noqa: E402

from zoo.orca import init_orca_context, stop_orca_context  # noqa: E402
from zoo.orca.errors import SlotsError  # noqa: E402
from zoo.orca.learn.tf2 import Estimator  # noqa: E402


def make_witness():
    """Return a callback that writes where a child runs and where its package comes from."""
    import tensorflow as tf

    class WhereAmI(tf.keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            import zoo.orca

            where = {
                "pid": os.getpid(),
                "parent": os.getppid(),
                "directory": os.getcwd(),
                "package": zoo.orca.__file__,
            }
            Path(DIRECTORY, "children", f"{os.getpid()}.json").write_text(json.dumps(where))

    return WhereAmI()


def batches(rows, batch_size):
    return int(rows) // batch_size


def make_estimator(ratings, workers):
    return Estimator.from_keras(
        model_creator=ncf,
        config={"max_user_id": highest(ratings, "user"), "max_item_id": highest(ratings, "item")},
        num_workers=workers,
    )


def fit(est, data, test, rows, callbacks=()):
    return est.fit(
        data,
        epochs=2,
        batch_size=500,
        callbacks=callbacks,
        feature_cols=["user", "item"],
        label_cols=["label"],
        steps_per_epoch=batches(0.8 * rows, 500),
        validation_data=test,
        validation_steps=batches(0.2 * rows, 500),
    )


def quickstart(ratings, train, test):
    est = make_estimator(ratings, workers=None)
    stats = fit(est, train, test, ratings.num_rows, [make_witness()])
    saved = est.save(os.path.join(DIRECTORY, "NCF.ckpt"))
    evaluation = est.evaluate(
        test, batch_size=500, feature_cols=["user", "item"], label_cols=["label"], num_steps=20
    )
    five = predict_five(est, test, seed=0)
    return {
        "workers": est.num_workers,
        "history": stats.history,
        "saved": saved,
        "evaluation": evaluation,
        "five": five,
    }


def slots(ratings, train, test):
    est = make_estimator(ratings, workers=3)
    began = time.monotonic()
    try:
        fit(est, train, test, ratings.num_rows)
    except SlotsError as error:
        return {"error": str(error), "seconds": time.monotonic() - began}
    return {"error": None}


def main():
    init_orca_context(
        "standalone",
        master=MASTER,
        cores=1,
        num_nodes=2,
        memory="1g",
        conf={
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executor.extraJavaOptions": os.environ["SPARK_SUBMIT_OPTS"],
            "spark.ui.enabled": False,
            "spark.sql.shuffle.partitions": 4,
        },
    )
    ratings = generate(MOVIELENS_100K)
    path = Path(DIRECTORY, "ratings.txt")
    write_colons(ratings, path)
    answer = {"quickstart": quickstart, "slots": slots}[PART](ratings, *read(str(path)))
    stop_orca_context()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
