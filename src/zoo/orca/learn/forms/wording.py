"""Ways out in the language of the rows that the user gave.

Errors about columns are made where columns are Spark's, in the driver and on the workers, and say
what to write in Spark. Who gave a pandas frame, an Arrow table or a dict of arrays has no such
frame: here the same is written in the words of the form. What has no words there is left out.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from zoo.orca.errors import InvalidInputError, OrcaError
from zoo.orca.learn.forms.arrays import ArraysForm, places_of
from zoo.orca.learn.forms.arrow import ArrowForm
from zoo.orca.learn.forms.entry import form_of
from zoo.orca.learn.forms.pandas import PandasForm, label_of

#: Spark's names of types, and those of numpy and pandas.
_KINDS = {
    "float": "float32",
    "double": "float64",
    "int": "int32",
    "bigint": "int64",
    "boolean": "bool",
    "string": "str",
}


class Words(Protocol):
    """How a form writes what mends a column; each returns code, or None for what it cannot."""

    def column(self, name: str) -> str | None:
        """Return the code of a column."""

    def assign(self, name: str, value: str) -> str:
        """Return the statement that makes a value a column."""

    def cast(self, value: str, kind: str) -> str:
        """Return a value as numpy's type of this name."""

    def first(self, value: str) -> str:
        """Return the first number of each row's array."""

    def alone(self, value: str) -> str:
        """Return arrays of one number each."""

    def flat(self, value: str) -> str | None:
        """Return each row's nested arrays as one array."""

    def indexed(self, value: str) -> str:
        """Return a number for each of the strings."""

    def decoded(self, value: str) -> str:
        """Return the bytes of each row as numbers."""

    def rounded(self, value: str) -> str:
        """Return numbers as the nearest whole ones."""

    def sound(self, value: str) -> str:
        """Return the statement that leaves out rows whose arrays hold nulls."""


class _PandasWords:
    def __init__(self, data: Any, argument: str) -> None:
        self._data, self._argument = data, argument

    def column(self, name: str) -> str:
        return f"{self._argument}[{label_of(self._data, name)!r}]"

    def assign(self, name: str, value: str) -> str:
        return f"{self.column(name)} = {value}"

    def cast(self, value: str, kind: str) -> str:
        return f"{value}.astype({kind!r})"

    def first(self, value: str) -> str:
        return f"{value}.str[0]"

    def alone(self, value: str) -> str:
        return f"{value}.map(lambda one: [one])"

    def flat(self, value: str) -> str:
        return f"{value}.map(numpy.ravel)"

    def indexed(self, value: str) -> str:
        return f"pandas.factorize({value})[0]"

    def decoded(self, value: str) -> str:
        return f"{value}.map(lambda row: [byte / 255 for byte in row])"

    def rounded(self, value: str) -> str:
        return f"{value}.round().astype('int64')"

    def sound(self, value: str) -> str:
        data = self._argument
        return f"{data} = {data}[[not pandas.isna(row).any() for row in {value}]]"


class _ArrowWords:
    def __init__(self, data: Any, argument: str) -> None:
        self._data, self._argument = data, argument

    def column(self, name: str) -> str:
        return f"{self._argument}[{name!r}]"

    def assign(self, name: str, value: str) -> str:
        data = self._argument
        if name not in self._data.schema.names:
            return f"{data} = {data}.append_column({name!r}, {value})"
        place = self._data.schema.names.index(name)
        return f"{data} = {data}.set_column({place}, {name!r}, {value})"

    def cast(self, value: str, kind: str) -> str:
        return f"{value}.cast({('string' if kind == 'str' else kind)!r})"

    def first(self, value: str) -> str:
        return f"pyarrow.compute.list_element({value}, 0)"

    def alone(self, value: str) -> str:
        return f"pyarrow.array([[one] for one in {value}.to_pylist()])"

    def flat(self, value: str) -> str:
        return f"pyarrow.array([numpy.ravel(row) for row in {value}.to_pylist()])"

    def indexed(self, value: str) -> str:
        return f"pyarrow.array({value}.to_pandas().factorize()[0])"

    def decoded(self, value: str) -> str:
        return f"pyarrow.array([[byte / 255 for byte in row] for row in {value}.to_pylist()])"

    def rounded(self, value: str) -> str:
        return f"pyarrow.compute.round({value}).cast('int64')"

    def sound(self, value: str) -> str:
        data = self._argument
        return f"{data} = {data}.filter([None not in row for row in {value}.to_pylist()])"


class _ArrayWords:
    def __init__(self, data: Mapping[Any, Any], argument: str) -> None:
        self._places, self._argument = places_of(data), argument

    def column(self, name: str) -> str:
        return f"{self._argument}{self._places.get(name, f'[{name!r}]')}"

    def assign(self, name: str, value: str) -> str:
        return f"{self.column(name)} = {value}"

    def cast(self, value: str, kind: str) -> str:
        return f"numpy.asarray({value}).astype({kind!r})"

    def first(self, value: str) -> str:
        return f"numpy.stack({value})[:, 0]"

    def alone(self, value: str) -> str:
        return f"numpy.asarray({value})[:, None]"

    def flat(self, value: str) -> str:
        return f"numpy.stack([numpy.ravel(row) for row in {value}])"

    def indexed(self, value: str) -> str:
        return f"numpy.unique({value}, return_inverse=True)[1]"

    def decoded(self, value: str) -> str:
        return f"numpy.array([[byte / 255 for byte in row] for row in {value}])"

    def rounded(self, value: str) -> str:
        return f"numpy.rint({value}).astype('int64')"

    def sound(self, value: str) -> str:
        return f"sound = [None not in row for row in {value}], and take array[sound] of every array"


def words_of(data: Any, argument: str) -> Words | None:
    """Return how the form of some data writes; None for one that is in Spark, or for none."""
    try:
        form = form_of(data, argument)
    except InvalidInputError:  # told of already
        return None
    if isinstance(form, PandasForm):
        return _PandasWords(data, argument)
    if isinstance(form, ArrowForm):
        return _ArrowWords(data, argument)
    return _ArrayWords(data, argument) if isinstance(form, ArraysForm) else None


def reword_for(
    error: OrcaError, call: Callable[..., Any], arguments: Sequence[Any], named: Mapping[str, Any]
) -> None:
    """Write the ways out of a call's error in the words of the data that the call got."""
    try:
        given = inspect.signature(call).bind_partial(*arguments, **named).arguments
    except TypeError:  # the error is of other arguments
        return
    told = str(error).partition("\n")[0]
    argument = "validation_data" if "validation_data" in told else "data"
    if argument not in given:
        return
    words = words_of(given[argument], argument)
    if words is not None:
        reword(error, words)


def reword(error: OrcaError, words: Words) -> None:
    """Write the ways out of an error in other words."""
    first, line, rest = str(error).partition("\n")
    if line:
        error.args = (first + line + reworded(rest, words), *error.args[1:])


def reworded(text: str, words: Words) -> str:
    """Return a text whose calls of Spark are written in other words."""
    for pattern, write in _SENTENCES:
        found = pattern.search(text)
        written = None if found is None else write(found, words)
        if found is not None and written is not None:
            text = text[: found.start()] + written + text[found.end() :]
    parts, end = [], 0
    for start, stop, call in _calls(text):
        written = _statement(call, words)
        if written is not None:
            parts += [text[end:start], written]
            end = stop
    return "".join([*parts, text[end:]])


def _calls(text: str) -> Iterator[tuple[int, int, ast.Call]]:
    """Yield each ``df.withColumn(...)`` of a text: where it begins and ends, and the call."""
    for found in re.finditer(r"(?:df = )?df\.withColumn\(", text):
        for stop in (one.end() for one in re.finditer(r"\)", text[found.end() :])):
            source = text[found.start() : found.end() + stop].removeprefix("df = ")
            try:
                call = ast.parse(source, mode="eval").body
            except SyntaxError:
                continue
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "df.withColumn":
                yield found.start(), found.end() + stop, call
                break


def _statement(call: ast.Call, words: Words) -> str | None:
    if len(call.args) != 2 or not isinstance(call.args[0], ast.Constant):
        return None
    value = _value(call.args[1], words)
    return None if value is None else words.assign(str(call.args[0].value), value)


def _value(node: ast.expr, words: Words) -> str | None:
    """Return an expression of columns in other words."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return words.column(_unquoted(node.value))
    if isinstance(node, ast.Subscript):
        inner = _value(node.value, words)
        return None if inner is None else words.first(inner)
    if not isinstance(node, ast.Call) or not node.args:
        return None
    name = ast.unparse(node.func)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "cast":
        inner, kind = _value(node.func.value, words), ast.literal_eval(node.args[0])
        return None if inner is None or kind not in _KINDS else words.cast(inner, _KINDS[kind])
    inner = _value(node.args[0], words)
    ways: dict[str, Callable[[str], str | None]] = {
        "F.col": lambda value: value,
        "F.array": words.alone,
        "F.flatten": words.flat,
        "decode": words.decoded,
    }
    return None if inner is None or name not in ways else ways[name](inner)


def _unquoted(name: str) -> str:
    """Return a column's name, which Spark's expressions have in backticks where it is odd."""
    return name[1:-1].replace("``", "`") if re.fullmatch(r"`.*`", name) else name


def _indexed(found: re.Match[str], words: Words) -> str | None:
    """Return what a `StringIndexer` does."""
    call = ast.parse(f"f({found['given'] or found['other']})", mode="eval").body
    given = {one.arg: ast.literal_eval(one.value) for one in getattr(call, "keywords", ())}
    inputs = given.get("inputCols") or [given.get("inputCol")]
    outputs = given.get("outputCols") or [given.get("outputCol")]
    made = []
    for source, target in zip(inputs, outputs, strict=True):
        column = words.column(source)
        if column is None:
            return None
        made.append(words.assign(target, words.indexed(column)))
    return "; ".join(made)


def _rounded(name: str, words: Words) -> str | None:
    column = words.column(_unquoted(name))
    return None if column is None else f"whole numbers: {words.rounded(column)}"


def _dropped(found: re.Match[str], words: Words) -> str | None:
    """Return what leaves out rows with nulls inside their arrays; deeper ones have no words."""
    column = words.column(_unquoted(found["name"]))
    return None if column is None else f"Drop these rows with {words.sound(column)}"


#: Sentences that are no assignment of a column.
_SENTENCES: list[tuple[re.Pattern[str], Callable[[re.Match[str], Words], str | None]]] = [
    (
        re.compile(
            r"(?<=for example )with pyspark\.ml\.feature\.StringIndexer\((?P<given>[^()]*)\)"
            r"|StringIndexer\((?P<other>[^()]*)\)\.fit\(df\)\.transform\(df\), of "
            r"pyspark\.ml\.feature"
        ),
        _indexed,
    ),
    (
        re.compile(r", for example with pyspark\.ml\.feature\.CountVectorizer\([^()]*\)"),
        lambda found, words: ", or leave the column out",
    ),
    (
        re.compile(r"Decode it: decode = F\.udf\(lambda rows: .*"),
        lambda found, words: "Decode its bytes into numbers first, or leave it out",
    ),
    (
        re.compile(r"F\.round\((?P<name>'[^']*')\)\.cast\('int'\) or Bucketizer"),
        lambda found, words: _rounded(ast.literal_eval(found["name"]), words),
    ),
    (
        re.compile(r"need F\.col\(name\)\.cast\('float'\)"),
        lambda found, words: "need to be floats",
    ),
    (re.compile(r"decode = F\.udf\(lambda \w+: \[.*?\], '[a-z<>]*'\); "), lambda found, words: ""),
    (
        re.compile(
            r"Drop these rows with df\.where\([\"']not exists\((?P<name>[^,]*), "
            r"x -> x is null\)[\"']\), or fill them(?::.*)?"
        ),
        _dropped,
    ),
]
