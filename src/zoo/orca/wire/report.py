"""The line on which workers report to the driver: where it is, and what it is called."""

from dataclasses import dataclass

#: What both sides of this line call it in their handshake.
REPORT_PURPOSE = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTo:
    """Where the driver listens, and the secret that both sides prove to know."""

    host: str
    port: int
    secret: bytes
