"""The table of faults names what the tests inject, and nothing else."""

import ast
import socket

from tests.faults import table


def test_the_page_has_each_fault_and_no_other() -> None:
    rows = table.rows_of(table.PAGE.read_text())
    assert set(rows) == table.registered()
    assert len(rows) > 20
    assert not [fault for fault, (outcome, _) in rows.items() if outcome == "not tried"]


def test_the_docstring_has_the_same_table() -> None:
    assert table.PACKAGE.read_text() == table.docstring(table.PAGE.read_text())
    told = ast.get_docstring(ast.parse(table.PACKAGE.read_text()))
    assert told is not None
    assert told.count("\n- ") == len(table.registered())


def test_what_is_by_chance_is_not_in_an_outcome() -> None:
    here = socket.gethostname()
    said = f"rank 1 on 127.0.0.1 ({here}, spark://{here}:7077): 47 in /tmp/a-1/b: no room\nMore"
    expected = "`WorkerError`: rank N on HOST (HOST, URL N in PATH: no room"
    assert table.form("WorkerError", said) == expected
