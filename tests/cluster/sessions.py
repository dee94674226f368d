"""The session of a program on a test's cluster: a core and a gigabyte for each executor."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tests.jvms import OPTIONS
from zoo.orca import init_orca_context


def start(master: str, conf: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Start Spark on the cluster at `master`, with more of Spark's settings."""
    init_orca_context(
        "standalone",
        master=master,
        cores=1,
        num_nodes=2,
        memory="1g",
        conf={
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executor.extraJavaOptions": OPTIONS,
            "spark.ui.enabled": False,
            **conf,
        },
    )
