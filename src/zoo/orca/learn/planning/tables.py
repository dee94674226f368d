"""Tables of a few rows, as text and for a notebook, and the words for numbers in them."""

from collections.abc import Sequence
from html import escape

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def as_text(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Return lines whose columns lie below one another."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))] if rows else []
    return [
        indent + "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def as_html(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Return a table of a notebook."""
    lines = ["<table>"]
    if head:
        lines.append(f"<tr>{''.join(f'<th>{escape(one)}</th>' for one in head)}</tr>")
    for row in rows:
        lines.append(f"<tr>{''.join(f'<td>{escape(one)}</td>' for one in row)}</tr>")
    return "".join([*lines, "</table>"])


def size(count: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:,.1f} {_UNITS[unit]}" if unit else f"{count:,.0f} {_UNITS[0]}"


def several(count: int, one: str, more: str = "") -> str:
    """Return a number of things."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
