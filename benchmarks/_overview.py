"""The summary of all results: what was measured, ours, the best other way, and the limit.

A line takes medians out of the results of one benchmark; what has no result is a dash. Of several
other ways it names the best. So a goal of that benchmark may be a ratio to another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from _pictures import figures_of
from _report import brief, table

#: By the name of the benchmark's page.
Results = Mapping[str, Mapping[str, Any]]
NAMES = ["what", "ours", "the best other way", "ours ÷ it", "the limit", "all figures"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the summary.

    Parameters
    ----------
    what : str
    page : str
        The name of the results.
    ours : str
        Orca's contestant.
    figure : str
        What of each contestant's figures.
    peers : dict of str to str
        Contestants by what they are called here; the best counts.
    limit : tuple of str
        What the limit is called here, its contestant and its figure; empty: none was measured.
    unit : str
        More of "rows/s" is better, less of others.
    """

    what: str
    page: str
    ours: str
    figure: str
    peers: Mapping[str, str] = field(default_factory=dict)
    limit: tuple[str, ...] = ()
    unit: str = "s"

    def cells(self, results: Results) -> list[str]:
        """Return the cells of the line."""
        found = figures_of({"runs": [], **results.get(self.page, {})})

        def middle(contestant: str, figure: str) -> float | None:
            measured = found.get(contestant, {}).get(figure)
            return median(measured) if measured else None

        peers = {name: middle(one, self.figure) for name, one in self.peers.items()}
        limit = (self.limit[0], middle(*self.limit[1:])) if self.limit else ("", None)
        return self._told(middle(self.ours, self.figure), peers, limit)

    def _told(
        self,
        ours: float | None,
        peers: Mapping[str, float | None],
        limit: tuple[str, float | None],
    ) -> list[str]:
        best = max if self.unit == "rows/s" else min
        measured = [(value, name) for name, value in peers.items() if value is not None]
        value, name = best(measured) if measured else (None, "")
        ratio = "–" if ours is None or value is None else f"{ours / value:.2f}"
        link = f"[{self.page}](performance-tables.md#{self.page})"
        others = (self._figure(value, name), ratio, self._figure(limit[1], limit[0]))
        return [self.what, self._figure(ours), *others, link]

    def _figure(self, value: float | None, name: str = "") -> str:
        if value is None:
            return "–"
        return f"{brief(value)} {self.unit}" + (f" ({name})" if name else "")


@dataclass(frozen=True, kw_only=True)
class SumLine(Line):
    """A line of one all-reduce among four hosts of two ranks, in ms.

    Parameters
    ----------
    gbits : int
        Gbit/s of the links.
    """

    gbits: int

    def cells(self, results: Results) -> list[str]:
        """Return the cells of the line; the limit is the least bytes at the link's speed."""
        layout = {"hosts": 4, "ranks": 2, "Gbit/s": self.gbits, "size": self.figure}
        for point in results.get(self.page, {}).get("points", []):
            if layout.items() <= point.items():
                ours, gloo = (1e3 * median(point["seconds"][name]) for name in ("orca", "gloo"))
                link = 1e3 * point["least"] * 8 / (self.gbits * 1e9)
                return self._told(ours, {"gloo": gloo}, ("the link", link))
        return self._told(None, {}, ("", None))


def _trained(framework: str, workers: int, peers: Mapping[str, str], model: str = "NCF") -> Line:
    """Return a line of rows a second in training, at batches of 1,280."""
    prefix = {"Keras 2": "tf2", "PyTorch": "pytorch", "Keras 3 on JAX": "keras-jax"}[framework]
    number = f"{workers} worker" if workers == 1 else f"{workers} workers"
    return Line(
        what=f"{framework}, {model}, {number}",
        page="epochs" if prefix == "tf2" else f"epochs-{prefix}",
        ours=f"{prefix}: Orca, {number}",
        figure=f"{model.lower()} 1280",
        peers=peers,
        unit="rows/s",
    )


def _keras(prefix: str) -> dict[str, str]:
    """Return what Keras makes of it by itself, as it is and with several steps a call."""
    many = {"`steps_per_execution=16`": f"{prefix}: plain, 16 steps a call"}
    return {"the framework alone": f"{prefix}: plain", **many}


_DDP = "DistributedDataParallel, 2 processes"
_FEWER, _MANY = "1,000,000 rows", "10,000,000 rows"
_STRATEGY = "MultiWorkerMirroredStrategy, 2 processes"


def _step(where: str, page: str, limit: tuple[str, ...] = ()) -> Line:
    return Line(
        what=f"a step of 16M parameters, 2 workers, {where}",
        page=page,
        ours="Orca, 2 workers",
        figure="16m",
        peers={"DistributedDataParallel": _DDP},
        limit=limit,
        unit="ms",
    )


def _sum(size: str, gbits: int) -> Line:
    what = f"a sum of {size}, 4 hosts of 2 workers, {gbits} Gbit/s"
    return SumLine(what=what, page="ranks", ours="orca", figure=size, unit="ms", gbits=gbits)


def _moved(
    rows: str, how: str, ours: str, limit: tuple[str, str], peers: Mapping[str, str]
) -> Line:
    """Return a line of rows that go to the workers."""
    return Line(
        what=f"{rows}, {how}",
        page="ingest-wide",
        ours=ours,
        figure=rows,
        peers=peers,
        limit=(*limit, rows),
    )


def _exchanged(rows: str) -> Line:
    limit = ("Spark's exchange and a count", "bare repartition and count")
    return _moved(rows, "exchanged", "Orca, exchanged", limit, {})


def _as_they_are(rows: str) -> Line:
    limit = ("a count in `mapInArrow`", "bare count, as it is")
    return _moved(rows, "as they are", "Orca, as it is", limit, {"`toArrow()`": "toArrow()"})


def _program(framework: str, page: str) -> Line:
    return Line(
        what=f"the quick start, a whole program, {framework}",
        page=page,
        ours="Orca, 1 worker",
        figure="total",
        peers={"the framework alone, after `toPandas()`": "plain"},
    )


def _first(what: str, ours: str) -> Line:
    """Return a line of a session's first prediction."""
    limit = ("the framework's import", "the framework's import in a bare process", _FEWER)
    return Line(what=what, page="predict", ours=ours, figure=_FEWER, limit=limit)


LINES: tuple[Line, ...] = (
    _trained("Keras 2", 1, _keras("tf2")),
    _trained("Keras 2", 2, {"MultiWorkerMirroredStrategy": _STRATEGY}),
    _trained("Keras 2", 1, _keras("tf2"), "dense"),
    _trained("PyTorch", 1, {"the framework alone": "pytorch: plain"}),
    _trained("PyTorch", 2, {"DistributedDataParallel": f"pytorch: {_DDP}"}),
    _trained("Keras 3 on JAX", 1, _keras("keras-jax")),
    _trained("Keras 3 on JAX", 2, _keras("keras-jax")),
    _step("1 host", "crossover", ("no sum at all", "plain, half a batch", "16m")),
    _step("10 Gbit/s", "crossover-10gbit"),
    _step("1 Gbit/s", "crossover-1gbit"),
    _sum("4 KB", 10),
    _sum("1.28 MB", 10),
    _sum("16 MB", 1),
    _exchanged("1,000,000 x 100 floats"),
    _exchanged("1,000,000 x 100 floats in an array"),
    _as_they_are("1,000,000 x 100 floats in an array"),
    _as_they_are("2,000,000 x string of 8 to 72"),
    Line(
        what="a session's first fit, 2 workers, to its first step",
        page="warm",
        ours="first fit",
        figure="first step",
        limit=("the framework's import", "import of the framework alone", "alone"),
    ),
    Line(
        what="a second fit, 2 workers, to its first step",
        page="warm",
        ours="second fit",
        figure="first step",
        limit=("Spark's exchange", "second fit", "shuffle alone"),
    ),
    _program("Keras 2", "quickstart"),
    _program("Keras 3 on JAX", "quickstart-keras-jax"),
    _program("PyTorch", "quickstart-pytorch"),
    _first("a session's first prediction", "the first Orca predict of a session, 1,000 rows"),
    _first("the same by a model that was saved", "the same by a model that was saved"),
    Line(
        what=f"`predict`, {_MANY}",
        page="predict",
        ours="Orca predict, to the noop sink",
        figure=_MANY,
        peers={"`toArrow()` and `model.predict`": "toArrow, then model.predict"},
        limit=("`model.predict`", "of which model.predict alone", _MANY),
    ),
    Line(
        what=f"`predict_udf`, {_FEWER}",
        page="predict",
        ours="Orca predict_udf, to the noop sink",
        figure=_FEWER,
        peers={
            "`predict_batch_udf`": "pyspark's predict_batch_udf, to the noop sink",
            "`pandas_udf`": "pandas_udf over iterators, to the noop sink",
        },
    ),
    Line(
        what="a search of Spark ML, six fits",
        page="ml",
        ours="CrossValidator",
        figure="search",
        peers={"the same fits in a loop": "by hand"},
    ),
)


def overview(results: Results) -> str:
    """Return the summary as a table."""
    return table(NAMES, [line.cells(results) for line in LINES])
