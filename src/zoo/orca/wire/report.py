"""The connection on which workers report to the driver: its address and its purpose."""

from dataclasses import dataclass

#: The purpose that both sides name in the handshake.
REPORT_PURPOSE = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTo:
    """Where the driver listens, and the secret that both sides prove to know."""

    host: str
    port: int
    secret: bytes
