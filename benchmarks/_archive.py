"""Waits for the archive of Spark's classes that Orca has made when a first program has ended."""

import time
from collections.abc import Callable
from pathlib import Path

from pyspark.find_spark_home import _find_spark_home

from zoo.orca.context.class_archive import SETTING, find_class_archive
from zoo.orca.context.java import find_java

_MADE_WITHIN_SECONDS = 600


def ensure_class_archive(first_program: Callable[[], object]) -> str:
    """Run a first program if this machine has seen none, and wait; return what was found."""
    found = find_class_archive(find_java(), Path(_find_spark_home()), {SETTING: "true"})
    if found is None or found.java_options() == "":
        return "there can be none here"
    if not found.path.exists():
        first_program()
        deadline = time.monotonic() + _MADE_WITHIN_SECONDS
        while not found.path.exists():
            if time.monotonic() > deadline:
                return "none was made"
            time.sleep(1)
        time.sleep(5)  # for the maker to end
    return f"{found.path.stat().st_size / 1e6:.0f} MB"
