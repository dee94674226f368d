"""A plan as text."""

from zoo.orca.errors import ColumnError, InvalidInputError
from zoo.orca.learn.planning.plan import FitPlan, PlannedColumn

COLUMN = PlannedColumn(role="input", name="user", column="<u>", dtype="int32", shape=(None, 3))
FULL = FitPlan(
    workers=2,
    hosts=1,
    slots=4,
    threads=2,
    columns=(COLUMN,),
    rows=1000,
    validation_rows=50,
    steps=32,
    moves=True,
    why="shuffle=True asks for it",
    order="canonical",
    row_bytes=20,
    memory=1 << 20,
    memory_needed=10_000,
    windows=False,
    gradient_bytes=2048,
    state_bytes=4096,
    is_trained=True,
)


def test_all_that_is_known_is_told() -> None:
    assert str(FULL).splitlines() == [
        "workers    2 on 1 host, slots: 4, threads each: 2",
        "rows       1,000, and 50 to validate with",
        "steps      32 an epoch",
        "exchange   yes: shuffle=True asks for it",
        "order      canonical: the rows of a step are the same on any number of workers",
        "memory     9.8 KiB of rows, 20 bytes a row, in 1.0 MiB a worker "
        "(spark.orca.data.memory): all in memory",
        "gradients  up to 2.0 KiB a step, added up over all workers",
        "state      4.0 KiB",
        "",
        "role   of the model  column  dtype  a row's shape",
        "input  user          <u>     int32  ? x 3",
        "",
        "fit would refuse nothing of this",
    ]
    assert "&lt;u&gt;" in FULL._repr_html_() and "<u>" not in FULL._repr_html_()
    assert repr(FULL) == "FitPlan(workers=2, rows=1000, refused: nothing)"


def test_what_nobody_knows_is_said_to_be_unknown() -> None:
    assert str(FitPlan(workers=1, memory=800, row_bytes=8)).splitlines()[:6] == [
        "workers    1, slots: unknown",
        "rows       not counted: count=True counts them",
        "steps      unknown without the rows",
        "memory     800 bytes a worker (spark.orca.data.memory), which holds 100 rows of 8 bytes "
        "a row or more",
        "gradients  unknown until the model is made: build=True makes it on one worker",
        "state      unknown until the model is made",
    ]


def test_rows_of_a_creator_are_not_said_to_be_countable() -> None:
    rows = str(FitPlan(workers=1, is_created=True)).splitlines()[1]
    assert rows == "rows       unknown: they are what the creator's loader has, on the workers"


def test_all_that_would_be_refused_is_told() -> None:
    refused = (
        ColumnError("there is no column 'a'\nDid you mean 'b'?"),
        InvalidInputError("epochs=0"),
    )
    plan = FitPlan(refused=refused, stopped="TypeError: of no use")
    assert str(plan).splitlines()[-5:] == [
        "fit would refuse 2 things:",
        "1. there is no column 'a'",
        "   Did you mean 'b'?",
        "2. epochs=0",
        "What comes behind that could not be looked at: TypeError: of no use",
    ]
    assert repr(plan) == "FitPlan(workers=None, rows=None, refused: 2 things)"
