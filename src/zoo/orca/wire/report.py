"""The connection on which workers report to the driver: its address and its purpose."""

from dataclasses import dataclass, field

#: The purpose that both sides name in the handshake.
REPORT_PURPOSE = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTo:
    """Where the driver listens, and the secret that both sides prove to know.

    `identity` is the job's certificate and key (`zoo.orca.encryption`); empty: it is in clear.
    """

    host: str
    port: int
    secret: bytes = field(repr=False)
    identity: str = field(default="", repr=False)
