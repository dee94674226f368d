"""Every Python block of the documentation runs as it stands."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = "# not run"


def blocks(page: Path) -> list[tuple[int, str]]:
    """The Python blocks of a page, each with the line it starts on."""
    text = page.read_text()
    return [
        (text.count("\n", 0, match.start(1)), match[1])
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]


def compiled(page: Path, line: int, source: str):
    """A block as code whose traceback names the page and its line."""
    return compile("\n" * line + source, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_compile(page):
    for line, source in blocks(page):
        compiled(page, line, source)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(not b.startswith(NOT_RUN) for _, b in blocks(page))],
    ids=lambda page: page.stem,
)
def test_blocks_run(page, spark, where_spark_is, monkeypatch, capsys):
    # A program starts Spark where it is: a relative path means the same to both.
    monkeypatch.chdir(where_spark_is)
    # A function of __main__ travels to the workers by value, as it does from a user's program.
    namespace = {"__name__": "__main__"}
    for line, source in blocks(page):
        if not source.startswith(NOT_RUN):
            capsys.readouterr()
            exec(compiled(page, line, source), namespace)
            if (expected := shown(page, source)) is not None:
                assert_alike(capsys.readouterr().out, expected)
    # The page's program ends here. Its functions refer to the namespace, as it does to them, and a
    # model that MLflow has loaded keeps its process.
    namespace.clear()


def shown(page: Path, source: str) -> str | None:
    """The output that a page shows below a block, where it shows one."""
    _, _, below = page.read_text().partition(source + "```")
    output = re.match(r"\n\n```text\n(.*?)^```", below, re.MULTILINE | re.DOTALL)
    return output and output[1]


def assert_alike(printed: str, expected: str) -> None:
    """Compare two outputs: their lines but for the figures, and the losses and accuracies."""
    assert forms(printed) == forms(expected)
    pairs = zip(learned(printed), learned(expected), strict=True)
    # How rows fall into partitions is the machine's, and which batches there are depends on it.
    assert all(abs(one - other) < 0.1 for one, other in pairs)


def forms(output: str) -> tuple[list[str], list[str]]:
    """The lines without figures: phases, which overlap, in any order; the others in theirs."""
    figure, gap = r"\d[\d,.]*(?:e-?\d+)?", r" {2,}|-{2,}|(?<=\|) | (?=\|)"
    lines = [re.sub(gap, "", re.sub(figure, "#", line)) for line in output.splitlines()]
    phases = [line for line in lines if re.match(r"\w+: ", line)]
    return sorted(phases), [line for line in lines if line not in phases]


def learned(output: str) -> list[float]:
    """The losses and accuracies of an output, in order."""
    return [float(text) for text in re.findall(r"(?:loss|accuracy)\W+(\d[\d.e-]*)", output)]


def test_the_shown_output_is_compared():
    """Another form, another number and a missing line are noticed."""
    line = "Epoch 1/3\n100/100 - 1s - 5,000 rows/s - loss: 0.31\n"
    assert_alike(line, line.replace("0.31", "0.3099").replace("5,000", "70"))
    for other in ("loss: 0.5", "Loss: 0.31", "loss: 0.31 - more: 1", "loss: nan"):
        with pytest.raises((AssertionError, ValueError)):
            assert_alike(line, line.replace("loss: 0.31", other))
    with pytest.raises(AssertionError):
        assert_alike(line, line.splitlines()[1])
    assert shown(ROOT / "README.md", blocks(ROOT / "README.md")[1][1]) is not None


#: What README.md says of speed, in its order: goals of the pages on performance.
TOLD = [
    "NCF 1280: Orca 1 worker ÷ plain",
    "NCF 1280: Orca 2 workers ÷ the strategy",
    "pytorch, NCF 1280: Orca 1 worker ÷ plain",
    "pytorch, ncf 1280: Orca 2 workers ÷ DistributedDataParallel, 2 processes",
    "keras-jax, NCF 1280: Orca 1 worker ÷ plain",
    "NCF 1280: Orca 2 workers of 1 thread ÷ plain",
    "pytorch, NCF 1280: Orca 2 workers of 1 thread ÷ plain",
    "keras-jax, NCF 1280: Orca 2 workers of 1 thread ÷ plain",
]


def test_the_ratios_of_the_readme_are_those_that_were_measured():
    _, _, after = (ROOT / "docs/performance-tables.md").read_text().partition("## All ratios")
    cells = (line.split("|") for line in after.partition("\n## ")[0].splitlines())
    measured = {row[1].strip(): row[2].strip() for row in cells if len(row) > 4}
    _, _, why = (ROOT / "README.md").read_text().partition("## Why")
    ratios = re.findall(r"\b\d+\.\d+\b", why.partition("\n## ")[0])
    assert ratios == [measured[name] for name in TOLD]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_to_files_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize(
    "picture", sorted((ROOT / "docs/images").glob("*.svg")), ids=lambda path: path.stem
)
def test_pictures_are_svg(picture):
    root = ElementTree.parse(picture).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("viewBox")
