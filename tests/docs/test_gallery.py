"""The pictures and tables of the gallery are there, and the command puts in what blocks show."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples"))

import gallery  # noqa: E402

GALLERY = gallery.DOCS / "gallery.md"
MADE_UP = """
```python
class Shown:
    def _repr_html_(self):
        return "<table></table>"
```

```python
Shown()
```

<!-- shown -->
old
<!-- end -->

```python
from matplotlib.figure import Figure

Figure()
```

![A picture](images/made-up.svg)
"""


def test_whatever_a_block_ends_with_is_shown_below_it():
    for block in gallery.blocks(GALLERY.read_text()):
        last = ast.parse(block.source).body[-1]
        is_shown = block.picture is not None or block.table is not None
        assert isinstance(last, ast.Expr) == is_shown, block.line


def test_the_tables_are_filled():
    page = GALLERY.read_text()
    tables = [page[slice(*one.table)] for one in gallery.blocks(page) if one.table is not None]
    assert tables and all(one.startswith("<table>") for one in tables)


def test_the_pictures_are_small_and_a_program_makes_each():
    made = {one.picture for page in gallery.PAGES for one in gallery.blocks(page.read_text())}
    shown = set(re.findall(r"\((images/[^)]+)\)", GALLERY.read_text()))
    assert shown and shown <= made
    assert all((gallery.DOCS / one).stat().st_size < 100_000 for one in shown)


def test_a_page_is_written_with_what_its_blocks_show(tmp_path):
    (tmp_path / "images").mkdir()
    page = gallery.written(MADE_UP, tmp_path)
    assert page == MADE_UP.replace("old", "<table></table>")
    assert "<svg" in (tmp_path / "images/made-up.svg").read_text()
