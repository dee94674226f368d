"""The header that begins every operation, so that mismatched calls are an error."""

import struct
from typing import Final

from zoo.orca.worker.collective.protocol import Buffer
from zoo.orca.worker.collective.sockets import Link

_OPERATIONS: Final = ("close", "all_reduce", "all_gather", "broadcast", "barrier", "end")
_NUMBERS: Final = {name: number for number, name in enumerate(_OPERATIONS)}
_HEADER: Final = struct.Struct("<BxHIQ")  # operation, detail, sequence, bytes
HEADER_BYTES: Final = _HEADER.size
#: What a rank says of a peer that calls nothing any more, and of one that calls something else.
HAS_RETURNED: Final = "has returned"
CALLED: Final = " called "
#: How the operation is told that a rank which has returned is in.
AT_END: Final = "end"
#: Sent once before an orderly close. A stream that ends without it means a crash.
GOODBYE: Final = _HEADER.pack(0, 0, 0, 0)


def header_of(name: str, detail: int, sequence: int, length: int) -> bytes:
    """Return the header of one call.

    Parameters
    ----------
    name : str
        The operation.
    detail : int
        Two bytes that must be equal on all ranks: the type of the numbers, or the root.
    sequence : int
        The number of earlier operations.
    length : int
        The bytes of this rank's data.
    """
    return _HEADER.pack(_NUMBERS[name], detail, sequence & 0xFFFFFFFF, length)


def with_length(header: bytes, length: int) -> bytes:
    """Return the header of the same call with another length of the data."""
    *call, _ = _HEADER.unpack(header)
    return _HEADER.pack(*call, length)


def length_in(header: Buffer) -> int:
    """Return the length of the data that a header announces."""
    length: int = _HEADER.unpack(header)[-1]
    return length


def check(link: Link, theirs: Buffer, mine: bytes) -> None:
    """Raise unless a peer's header belongs to the same call as ours.

    Raises
    ------
    PeerLostError
        The message names both calls.
    """
    if theirs == mine:
        return
    operation, detail, sequence, length = _HEADER.unpack(theirs)
    our_operation, our_detail, our_sequence, our_length = _HEADER.unpack(mine)
    if operation == 0:
        name = _OPERATIONS[our_operation]
        raise link.failed(f"has closed its ring while this rank calls {name}")
    if operation == _NUMBERS[AT_END] != our_operation:
        raise link.failed(f"{HAS_RETURNED} while this rank calls {_describe(mine)}")
    same = (operation, detail, sequence) == (our_operation, our_detail, our_sequence)
    if not same or (operation == _NUMBERS["all_reduce"] and length != our_length):
        raise link.failed(
            f"{CALLED.strip()} {_describe(theirs)} while this rank calls {_describe(mine)}"
        )


def _describe(header: Buffer) -> str:
    """Return a call in words."""
    operation, detail, sequence, length = _HEADER.unpack(header)
    name = _OPERATIONS[operation] if operation < len(_OPERATIONS) else f"operation {operation}"
    if name == "all_reduce":
        name += f" of {chr(detail >> 8)}{detail & 255}"
    elif name == "broadcast":
        name += f" from rank {detail}"
    elif name == AT_END:
        return name
    return f"{name}, {length} bytes, call {sequence}"
