"""The JVMs that tests start, and the environment of programs that start one."""

import os

#: They live for seconds. Java's second compiler and its threads of garbage collection would take
#: more of the processors than they ever give back.
OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def set_options() -> None:
    """Have all JVMs of this process, and of the programs it starts, run so."""
    os.environ["SPARK_SUBMIT_OPTS"] = OPTIONS
    os.environ["SPARK_LAUNCHER_OPTS"] = OPTIONS


def environment_without(*prefixes: str) -> dict[str, str]:
    """Return this environment less variables that begin so, but with the options."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("SPARK_", *prefixes))}
    return kept | {"SPARK_SUBMIT_OPTS": OPTIONS, "SPARK_LAUNCHER_OPTS": OPTIONS}
