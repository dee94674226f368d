"""Rows as text and for a notebook."""

import pytest

from zoo.orca.learn.planning.tables import as_html, as_text, several, size


def test_columns_lie_below_one_another() -> None:
    assert as_text([("a", "bb"), ("ccc", "d")]) == ["a    bb", "ccc  d"]
    assert as_text([]) == []


def test_a_notebook_gets_no_markup_of_the_users() -> None:
    html = as_html([("<b>", "1 & 2")], ("name",))
    assert html == (
        "<table><tr><th>name</th></tr><tr><td>&lt;b&gt;</td><td>1 &amp; 2</td></tr></table>"
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_one_and_several() -> None:
    assert [several(n, "row") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
    assert several(2, "entry", "entries") == "2 entries"
