"""How fast the quick start trains: Orca beside plain Keras and beside TensorFlow's own strategy.

python benchmarks/quickstart.py [--rounds N]

Rows a second of the second epoch (the first one traces the model) on 80 % of a million generated
ratings. The contestants take turns, each in a cold process with the same two processors. Fails
when one worker falls below 0.9 of plain Keras, or two workers below 4 times the strategy.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from _ncf import save
from _report import race, table, write
from ratings import MOVIELENS_1M, generate, scaled

CONTESTANTS = {
    "plain": "plain tf_keras, one process",
    "orca-1": "Orca, 1 worker",
    "orca-2": "Orca, 2 workers of 1 thread",
    "mirrored": "MultiWorkerMirroredStrategy, 2 processes",
}
LEAST_OF_PLAIN = 0.9
LEAST_OF_MIRRORED = 4.0


def run(name: str, directory: str, train_rows: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run one contestant; return its second epoch: seconds, rows a second, loss."""
    rows, batch = train_rows, options.batch_size
    arguments: list[object] = ["--batch-size", batch]
    if name.startswith("orca"):
        arguments += ["--workers", name.rpartition("-")[2]]
    if name == "mirrored":
        steps = min(rows // batch, options.mirrored_steps)
        rows = steps * batch
        arguments += ["--steps", steps]
    (result,) = race("_ncf.py", name.partition("-")[0], directory, *arguments)["runs"]
    seconds = result["seconds"][1]
    return {
        "seconds": seconds,
        "rows_per_s": rows / seconds,
        "ms_per_step": 1000 * seconds * batch / rows,
        "loss": result["history"]["loss"][1],
    }


def take_turns(
    directory: str, train_rows: int, options: argparse.Namespace
) -> dict[str, list[dict[str, Any]]]:
    """Let the contestants run in turns; return the runs of each."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for number in range(1, options.rounds + 1):
        for name, runs in results.items():
            runs.append(run(name, directory, train_rows, options))
            rate = runs[-1]["rows_per_s"]
            print(f"round {number}: {CONTESTANTS[name]}: {rate:,.0f} rows/s", flush=True)
    return results


def summary(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the medians and spreads as a table."""
    lines = []
    for name, runs in results.items():
        rates = [run["rows_per_s"] for run in runs]
        lines.append(
            [
                CONTESTANTS[name],
                f"{median(rates):,.0f}",
                f"{min(rates):,.0f} - {max(rates):,.0f}",
                f"{median(run['ms_per_step'] for run in runs):.2f}",
                f"{median(run['loss'] for run in runs):.4f}",
            ]
        )
    return table(["second epoch", "rows/s", "min - max", "ms/step", "loss"], lines)


def ratios(results: dict[str, list[dict[str, Any]]]) -> tuple[str, bool]:
    """Return what the medians' ratios are and must be, and whether they are that."""

    def rate(name: str) -> float:
        return median(run["rows_per_s"] for run in results[name])

    of_plain = rate("orca-1") / rate("plain")
    of_mirrored = rate("orca-2") / rate("mirrored")
    text = table(
        ["ratio of medians", "measured", "must be"],
        [
            ["Orca 1 worker / plain tf_keras", f"{of_plain:.2f}", f"{LEAST_OF_PLAIN} or more"],
            ["Orca 2 workers / strategy", f"{of_mirrored:.2f}", f"{LEAST_OF_MIRRORED} or more"],
        ],
    )
    return text, of_plain >= LEAST_OF_PLAIN and of_mirrored >= LEAST_OF_MIRRORED


def raw(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return every run as a table."""
    lines = [
        [number, CONTESTANTS[name], f"{run['seconds']:.3f}", f"{run['rows_per_s']:,.0f}"]
        for number, round_ in enumerate(zip(*results.values(), strict=True), 1)
        for name, run in zip(results, round_, strict=True)
    ]
    return table(["round", "contestant", "seconds", "rows/s"], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="generated ratings, a million by default")
    parser.add_argument("--batch-size", type=int, default=1280)
    parser.add_argument(
        "--mirrored-steps", type=int, default=250, help="of an epoch, to spare the strategy's time"
    )
    options = parser.parse_args(arguments)
    shape = MOVIELENS_1M if options.rows is None else scaled(options.rows)
    with tempfile.TemporaryDirectory(prefix="orca-quickstart-") as directory:
        train_rows, _ = save(generate(shape), Path(directory), seed=0)
        results = take_turns(directory, train_rows, options)
    shown, good = ratios(results)
    setting = (
        f"{train_rows:,} generated ratings to train on, batch {options.batch_size} over "
        f"all workers, {options.rounds} rounds; each contestant in a cold process with two "
        f"processors. The strategy's epoch is cut to {options.mirrored_steps} steps of the same "
        "work, because it is slow, and its loss is of fewer steps."
    )
    path = write(
        "quickstart",
        "Speed of the quick start",
        {"": setting, "Medians": f"{summary(results)}\n\n{shown}", "Every run": raw(results)},
    )
    print(f"\n{summary(results)}\n\n{shown}\n\n{path}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
