"""How fast rows get from a DataFrame to the workers' files, beside the least that Spark can do.

python benchmarks/ingest.py [--rounds N] [--kinds KIND ...] [--rows N ...] [--scale X] [--sorted]

The kinds of rows are those of _kinds.py: three ints a row, in several numbers of rows, and an array
by default; with others the results are those of wide and large rows.

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
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
from _kinds import KINDS, written
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
#: The same of wide and large rows, whose values and not whose number make the time.
WIDE_EXCHANGED, WIDE_AS_IT_IS = 1.15, 1.2
USUAL = ["ints", "arrays"]
CONTESTANTS = {
    "exchanged": "Orca, exchanged",
    "bare": "bare repartition and count",
    "as it is": "Orca, as it is",
    "count": "bare count, as it is",
    "toArrow": "toArrow()",
    "pandas": "Orca, from pandas",
}
RATIOS = {
    ("exchanged", "bare"): "exchanged / bare",
    ("as it is", "toArrow"): "as it is / toArrow",
    ("count", "toArrow"): "bare count / toArrow",
    ("pandas", "toArrow"): "from pandas / toArrow",
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


def contestants(df: DataFrame, columns: list[Any], outside: Any) -> dict[str, Callable[[], int]]:
    """Return one function for each contestant, which moves all rows and returns their number.

    `outside` has the rows of `df` as a frame of pandas, if they shall come from there.
    """
    from zoo.orca.driver.frame.arrow_batches import quick_batches
    from zoo.orca.driver.frame.sequence import PLACE
    from zoo.orca.driver.frame.source import prepare, read_spec
    from zoo.orca.learn.forms.entry import entered
    from zoo.orca.learn.forms.form import Columns

    spec = read_spec(df, columns)

    def counted(frame: DataFrame, task: Any) -> int:
        done = frame.mapInArrow(task, "rows long", barrier=True).collect()
        assert len(done) == WORKERS
        return sum(row.rows for row in done)

    def spooled(frame: DataFrame) -> int:
        with quick_batches(frame):  # as a stage of Orca's does
            return counted(frame, spooling(spec))

    def exchanged() -> DataFrame:
        return prepare(df, spec, WORKERS, SEED, shuffle=True).frame

    def come_in() -> int:
        frame = entered(outside, Columns(df.columns)).frame
        with quick_batches(frame):
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


def take_turns(
    df: DataFrame, columns: list[Any], rows: int, rounds: int, titles: dict[str, str]
) -> dict[str, list[float]]:
    """Return the seconds of each contestant's rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in titles}
    move = contestants(df, columns, df.toArrow().to_pandas() if "pandas" in titles else None)
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


def goals(kind: str, title: str, middle: dict[str, float]) -> list[Goal]:
    """Return what one kind's medians must come to."""
    exchanged, as_it_is = EXCHANGED, AS_IT_IS
    if kind != "ints":
        exchanged, as_it_is = (WIDE_EXCHANGED, None), (WIDE_AS_IT_IS, None)
    pairs = [("exchanged", "bare", *exchanged), ("as it is", "toArrow", *as_it_is)]
    pairs += [("pandas", "toArrow", *FROM_PANDAS)] if kind == "ints" else []
    return [
        Goal(
            f"{title}: {'from pandas' if one == 'pandas' else one} ÷ "
            f"{'toArrow()' if other == 'toArrow' else other}",
            middle[one] / middle[other],
            must,
            reach,
            at_most=True,
        )
        for one, other, must, reach in pairs
    ]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=USUAL)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 10_000_000, 30_000_000])
    parser.add_argument("--scale", type=float, default=1.0, help="times the rows of other kinds")
    parser.add_argument("--sorted", action="store_true", help="the exchange with a sort, too")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = parse(arguments)
    is_wide = not set(options.kinds) <= set(USUAL)
    titles = CONTESTANTS | (SORTED if options.sorted else {})
    if is_wide:  # a Vector is none in pandas
        titles.pop("pandas")
    sizes = [
        (kind, rows)
        for kind in options.kinds
        for rows in (options.rows if kind == "ints" else [int(KINDS[kind].rows * options.scale)])
    ]
    lines, ratios = [], []
    runs: list[Run] = []
    reached: list[Goal] = []
    with tempfile.TemporaryDirectory(prefix="orca-ingest-") as directory:
        spark = session(directory)
        for kind, rows in sizes:
            df = written(spark, directory, kind, rows, WORKERS)
            title = f"{rows:,} x {KINDS[kind].title}"
            columns = KINDS[kind].columns(df)
            seconds = take_turns(df, columns, rows, options.rounds, titles)
            middle = {name: median(found) for name, found in seconds.items()}
            for name, found in seconds.items():
                lines.append(
                    [
                        title,
                        titles[name],
                        f"{middle[name]:.2f}",
                        f"{min(found):.2f} - {max(found):.2f}",
                        f"{rows / middle[name]:,.0f}",
                        f"{rows * KINDS[kind].width / middle[name] / 1e6:,.0f}",
                    ]
                )
                runs += [Run(n, titles[name], {title: s}) for n, s in enumerate(found, 1)]
            if is_wide or (kind, rows) == GOALS_AT:
                reached += goals(kind, title, middle)
            found_ratios = [middle[one] / middle[other] for one, other in RATIOS if one in middle]
            ratios.append([title, *(f"{one:.2f}" for one in found_ratios)])
            shutil.rmtree(Path(directory) / f"{kind}-{rows}")
        spark.stop()
    names = ["rows", "contestant", "seconds", "min - max", "rows/s", "MB/s"]
    heads = [head for (one, _), head in RATIOS.items() if one in titles]
    shown = table(["ratio of medians", *heads], ratios)
    setting = SETTING.format(workers=WORKERS, rounds=options.rounds)
    result = "ingest-wide" if is_wide else "ingest"
    path = write(
        "ingest-sorted" if options.sorted else result,
        "Wide and large rows to the workers" if is_wide else "Rows to the workers",
        {
            "": setting + (WIDE_SETTING if is_wide else ""),
            "Medians": f"{table(names, lines)}\n\n{shown}",
        },
        runs=runs,
        goals=reached,
    )
    print(f"\n{table(names, lines)}\n\n{shown}\n\n{goals_table(reached)}\n\n{path}")
    return int(any(goal.mark == "MISSED" for goal in reached))


SETTING = """\
{workers} workers in one local session, {rounds} rounds after one that does not count; MB/s of the \
values alone, as a model has them (4 bytes a number)."""

WIDE_SETTING = """ \
Pictures are so few because 200,000 of them would be 30 GB, which `toArrow()` cannot hold on this \
machine."""


if __name__ == "__main__":
    sys.exit(main())
