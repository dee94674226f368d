"""What the example's model learns from real ratings: Keras alone, and Orca on one and two workers.

python benchmarks/movielens_100k.py --ratings PATH

PATH is MovieLens 100K's u.data. Each seed splits the ratings 80 to 20 anew, the same way for every
contestant; each contestant makes 10 exact passes at batch 256 and validates after each.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from _report import race, table, write
from _split import save
from ratings import read_ratings

CONTESTANTS = {
    "plain tf_keras": ["plain"],
    "Orca, 1 worker": ["orca", "--workers", 1],
    "Orca, 2 workers": ["orca", "--workers", 2],
}


def train(ratings: Path, options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return each contestant's history for each seed."""
    table_of_ratings = read_ratings(ratings.read_bytes())
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory(prefix="orca-movielens-") as directory:
            save(table_of_ratings, Path(directory), seed)
            for name, (contestant, *more) in CONTESTANTS.items():
                arguments = [*more, "--epochs", options.epochs, "--seeds", seed]
                arguments += ["--fits", f"train:{options.batch_size}", "--validation", "test"]
                (run,) = race("_train.py", contestant, "ncf", directory, *arguments)["runs"]
                results[name].append(run["history"])
                loss, accuracy = run["history"]["val_loss"][-1], run["history"]["val_accuracy"][-1]
                print(f"seed {seed}: {name}: {loss:.4f}, {accuracy:.4f}", flush=True)
    return results


def last_epochs(results: dict[str, list[dict[str, Any]]], seeds: Sequence[int]) -> str:
    """Return validation loss and accuracy after the last epoch as a table."""
    lines = []
    for name, histories in results.items():
        for metric in ("val_loss", "val_accuracy"):
            values = [history[metric][-1] for history in histories]
            spread = stdev(values) if len(values) > 1 else 0.0
            middle = f"{mean(values):.4f} ± {spread:.4f}"
            lines.append([name, metric, *(f"{value:.4f}" for value in values), middle])
    return table(["", "", *(f"seed {seed}" for seed in seeds), "mean ± deviation"], lines)


def best_epochs(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return where validation loss was lowest, on average over the seeds, as a table."""
    lines = []
    for name, histories in results.items():
        curve = [mean(values) for values in zip(*(h["val_loss"] for h in histories), strict=True)]
        lines.append([name, *(f"{value:.4f}" for value in curve)])
    epochs = len(next(iter(results.values()))[0]["val_loss"])
    return table(["val_loss, mean of seeds", *map(str, range(1, epochs + 1))], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ratings", type=Path, metavar="PATH", help="MovieLens 100K's u.data")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(arguments)
    # `scripts/bench all` names no ratings, and goes on to the next benchmark.
    if options.ratings is None:
        print("movielens_100k: not run; it needs --ratings PATH, MovieLens 100K's u.data")
        return 0
    results = train(options.ratings, options)
    shown = last_epochs(results, options.seeds)
    curves = best_epochs(results)
    setting = (
        f"MovieLens 100K, split 80 to 20 by seed; {options.epochs} epochs of exact passes at batch "
        f"{options.batch_size} over all workers."
    )
    sections = {"": setting, "After the last epoch": shown, "After each epoch": curves}
    path = write("movielens_100k", "What is learned from real ratings", sections)
    print(f"\n{shown}\n\n{curves}\n\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
