"""Makes mistakes over Spark Connect, in a process of its own: ``python -m … DIRECTORY TITLE…``.

A process has either classic sessions or those of Spark Connect. The last line that is printed has,
as JSON, what was seen.
"""

import json
import sys
from pathlib import Path

from tests.messages import cases, last_cases, model_cases  # noqa: F401 - they fill the table
from tests.messages.table import CASES
from tests.messages.world import FRAMEWORKS, NO_FRAMEWORK, World
from tests.over_connect import connect_session


def main() -> None:
    """Make the mistakes that are named, one framework after another."""
    directory, *titles = sys.argv[1:]
    spark = connect_session("local[4]")
    seen: dict[str, dict[str, str]] = {title: {} for title in titles}
    for framework in (NO_FRAMEWORK, *FRAMEWORKS):
        world = World(spark, framework, Path(directory))
        for title in titles:
            if framework in CASES[title].places("connect"):
                seen[title][framework] = world.seen(CASES[title].make)
    print(json.dumps(seen))
    spark.stop()


if __name__ == "__main__":
    main()
