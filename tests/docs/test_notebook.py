"""The notebook runs from its first cell to its last."""

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "ncf_dataframe.ipynb"
SOURCE = Path(__file__).parents[2] / "src"

LAST_WORDS = """
assert len(stats.history["val_loss"]) == epochs, stats.history
assert stats.history["loss"][-1] < stats.history["loss"][0], stats.history
assert "train_val_loss" in stats, stats
"""


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, nbformat.NO_CONVERT)


def printed(cell) -> str:
    """What a cell wrote to the page as text."""
    return "".join(out["text"] for out in cell.outputs if out.output_type == "stream")


def test_is_stored_without_outputs(notebook):
    nbformat.validate(notebook)
    assert not [c for c in notebook.cells if c.get("outputs") or c.get("execution_count")]


@pytest.mark.slow
# The client's own sockets and event loop, which it leaves to the garbage collector.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("ORCA_DEMO_ROWS", "20000")
    monkeypatch.setenv("ORCA_DEMO_OUTPUT", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook.cells.append(nbformat.v4.new_code_cell(LAST_WORDS))
    client = nbclient.NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    client.execute()
    fit = next(c for c in notebook.cells if "est.fit(" in c.source)
    shown = printed(fit)
    for epoch in (1, 2, 3):
        assert f"Epoch {epoch}/3" in shown
    # Keras's line at each epoch's end.
    assert len(re.findall(r"\d+/\d+ - .*ms/step.* - loss: .* - val_loss: ", shown)) == 3
    assert (tmp_path / "NCF.ckpt").is_file()
    assert (tmp_path / "learning_curves.png").is_file()
