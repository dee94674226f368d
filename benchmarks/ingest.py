"""How fast rows get from a DataFrame to the workers' files, beside the least that Spark can do.

python benchmarks/ingest.py [--rounds N] [--rows N ...] [--array-rows N] [--sorted]

The rows are read from Parquet files written once, a file for each of 2 workers. The contestants
take turns in one session, after one round that does not count:

* Orca's exchange: the prepared frame, spooled to files by a barrier stage;
* the bare exchange: repartition(n, rand(seed)), a barrier stage that only counts;
* Orca without an exchange: the same files, which already have a partition for each worker;
* the bare count: those files, a barrier stage that only counts, which is the floor of the last;
* toArrow(): all rows in the driver's memory;
* the other way: a pandas DataFrame of the rows comes in as `fit` takes it in, and a stage's Python
  workers count them;
* with --sorted, Orca's exchange with each worker's rows sorted into their sequence by Spark: what
  one order for any number of workers would take where rows do not fit into memory.

No framework runs, and nothing is trained.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
from _report import HERE, Goal, Run, goals_table, table, write
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

WORKERS = 2
SEED = 7
GOALS_AT = ("ints", 10_000_000)
#: Must, and reach for.
EXCHANGED = (1.25, 1.1)
AS_IT_IS = (1.6, 1.2)
FROM_PANDAS = (2.0, 1.5)
CONTESTANTS = {
    "exchanged": "Orca, exchanged",
    "bare": "bare repartition and count",
    "as it is": "Orca, as it is",
    "count": "bare count, as it is",
    "toArrow": "toArrow()",
    "pandas": "Orca, from pandas",
}
SORTED = {"sorted": "Orca, exchanged and sorted by Spark"}


def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Count the rows: the least that a task can do with them."""
    rows = sum(batch.num_rows for batch in batches)
    yield pa.RecordBatch.from_pydict({"rows": [rows]})


def spooling(spec: Any) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return a task that writes its rows as a worker's task does."""

    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from zoo.orca.worker.rows.spool import Spool

        with tempfile.TemporaryDirectory(prefix="orca-ingest-") as directory:
            spool = Spool(directory, spec, False)
            for batch in batches:
                spool.add(batch)
            rows = spool.finish().train.rows
        yield pa.RecordBatch.from_pydict({"rows": [rows]})

    return task


def contestants(df: DataFrame, outside: Any) -> dict[str, Callable[[], int]]:
    """Return one function for each contestant, which moves all rows and returns their number.

    `outside` has the rows of `df` as a frame of pandas.
    """
    from zoo.orca.driver.frame.arrow_batches import uncounted_batches
    from zoo.orca.driver.frame.sequence import PLACE
    from zoo.orca.driver.frame.source import prepare, read_spec
    from zoo.orca.learn.forms.entry import entered
    from zoo.orca.learn.forms.form import Columns

    spec = read_spec(df, df.columns)

    def counted(frame: DataFrame, task: Any) -> int:
        done = frame.mapInArrow(task, "rows long", barrier=True).collect()
        assert len(done) == WORKERS
        return sum(row.rows for row in done)

    def spooled(frame: DataFrame) -> int:
        with uncounted_batches(frame):  # as a stage of Orca's does
            return counted(frame, spooling(spec))

    def exchanged() -> DataFrame:
        return prepare(df, spec, WORKERS, SEED, shuffle=True).frame

    def come_in() -> int:
        frame = entered(outside, Columns(df.columns)).frame
        with uncounted_batches(frame):
            # Its pieces are put together, which no barrier stage can do.
            return sum(row.rows for row in frame.mapInArrow(count, "rows long").collect())

    return {
        "exchanged": lambda: spooled(exchanged()),
        "sorted": lambda: spooled(exchanged().sortWithinPartitions(PLACE)),
        "bare": lambda: counted(df.repartition(WORKERS, F.rand(SEED)), count),
        "as it is": lambda: spooled(prepare(df, spec, WORKERS, SEED).frame),
        "count": lambda: counted(df, count),
        "toArrow": lambda: df.toArrow().num_rows,
        "pandas": come_in,
    }


def written(spark: SparkSession, directory: str, kind: str, rows: int) -> tuple[DataFrame, int]:
    """Return a frame of that many rows, read from files, and the bytes of one row's values."""
    path = str(Path(directory) / f"{kind}-{rows}")
    base = spark.range(0, rows, 1, WORKERS)
    if kind == "ints":
        columns = [(F.rand(n) * 10_000).cast("int").alias(f"x{n}") for n in range(3)]
    else:
        columns = [F.array(*(F.rand(n).cast("float") for n in range(100))).alias("x")]
    base.select(*columns).write.parquet(path)
    # However large the files are, each is one partition.
    spark.conf.set("spark.sql.files.maxPartitionBytes", 1 << 40)
    return spark.read.parquet(path), 4 * (3 if kind == "ints" else 100)


def take_turns(
    df: DataFrame, rows: int, rounds: int, titles: dict[str, str]
) -> dict[str, list[float]]:
    """Return the seconds of each contestant's rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in titles}
    move = contestants(df, df.toArrow().to_pandas())
    for number in range(rounds + 1):
        for name in titles:
            start = time.perf_counter()
            moved = move[name]()
            passed = time.perf_counter() - start
            if moved != rows:
                raise SystemExit(f"{name} moved {moved:,} of {rows:,} rows")
            if number:  # the first round compiles Spark's code
                seconds[name].append(passed)
                print(f"round {number}: {titles[name]}: {passed:.2f} s", flush=True)
    return seconds


def session(directory: str) -> SparkSession:
    """Start Spark with a slot for each worker, and this package on the workers' path."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    paths = [str(HERE.parent / "src"), str(HERE), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    sys.path.insert(0, paths[0])
    builder = SparkSession.builder.master(f"local[{WORKERS}]").appName("ingest")
    for key, value in {
        # With 2 GB, toArrow() loses its own results of 30,000,000 rows.
        "spark.driver.memory": "6g",
        "spark.driver.maxResultSize": "0",
        "spark.local.dir": directory,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 10_000_000, 30_000_000])
    parser.add_argument("--array-rows", type=int, default=1_000_000, help="0: no arrays")
    parser.add_argument("--sorted", action="store_true", help="the exchange with a sort, too")
    options = parser.parse_args(arguments)
    titles = CONTESTANTS | (SORTED if options.sorted else {})
    sizes = [("ints", rows) for rows in options.rows]
    sizes += [("arrays", options.array_rows)] if options.array_rows else []
    lines, ratios = [], []
    runs: list[Run] = []
    goals: list[Goal] = []
    with tempfile.TemporaryDirectory(prefix="orca-ingest-") as directory:
        spark = session(directory)
        for kind, rows in sizes:
            df, width = written(spark, directory, kind, rows)
            title = f"{rows:,} x {'3 ints' if kind == 'ints' else '100 floats in an array'}"
            seconds = take_turns(df, rows, options.rounds, titles)
            middle = {name: median(found) for name, found in seconds.items()}
            for name, found in seconds.items():
                lines.append(
                    [
                        title,
                        titles[name],
                        f"{middle[name]:.2f}",
                        f"{min(found):.2f} - {max(found):.2f}",
                        f"{rows / middle[name]:,.0f}",
                        f"{rows * width / middle[name] / 1e6:,.0f}",
                    ]
                )
                runs += [Run(n, titles[name], {title: s}) for n, s in enumerate(found, 1)]
            exchange = middle["exchanged"] / middle["bare"]
            as_it_is = middle["as it is"] / middle["toArrow"]
            inwards = middle["pandas"] / middle["toArrow"]
            if (kind, rows) == GOALS_AT:
                goals = [
                    Goal(f"{title}: exchanged ÷ bare", exchange, *EXCHANGED, at_most=True),
                    Goal(f"{title}: as it is ÷ toArrow()", as_it_is, *AS_IT_IS, at_most=True),
                    Goal(f"{title}: from pandas ÷ toArrow()", inwards, *FROM_PANDAS, at_most=True),
                ]
            floor = middle["count"] / middle["toArrow"]
            found_ratios = (exchange, as_it_is, floor, inwards)
            ratios.append([title, *(f"{one:.2f}" for one in found_ratios)])
        spark.stop()
    names = ["rows", "contestant", "seconds", "min - max", "rows/s", "MB/s"]
    shown = table(
        [
            "ratio of medians",
            "exchanged / bare",
            "as it is / toArrow",
            "bare count / toArrow",
            "from pandas / toArrow",
        ],
        ratios,
    )
    setting = (
        f"{WORKERS} workers in one local session, {options.rounds} rounds after one that does not "
        "count; MB/s of the values alone (4 bytes each)."
    )
    path = write(
        "ingest-sorted" if options.sorted else "ingest",
        "Rows to the workers",
        {
            "": setting,
            "Medians": f"{table(names, lines)}\n\n{shown}",
        },
        runs=runs,
        goals=goals,
    )
    print(f"\n{table(names, lines)}\n\n{shown}\n\n{goals_table(goals)}\n\n{path}")
    return int(any(goal.mark == "MISSED" for goal in goals))


if __name__ == "__main__":
    sys.exit(main())
