"""Sessions of Spark Connect, each with a server of its own on a port that is free.

Without it every server takes Spark's own port, and of two runs at a time one gets the other's.
"""

import socket
import warnings

from pyspark.sql import SparkSession


def connect_session(master: str) -> SparkSession:
    """Start a server in this process, which has none, and connect to it."""
    from pyspark.sql.connect.client import core

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    # A session that starts its server connects to the default port, whatever the server's is.
    core.DefaultChannelBuilder.default_port = staticmethod(lambda: port)
    name = "spark.connect.grpc.binding.port"
    with warnings.catch_warnings():
        # The session would set it once more, when the server has it.
        warnings.filterwarnings("ignore", f"Failed to set {name}")
        return SparkSession.builder.remote(master).config(name, str(port)).getOrCreate()
