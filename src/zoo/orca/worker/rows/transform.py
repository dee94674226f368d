"""The user's function on batches of rows, and rows that come out of it.

It runs where rows are gathered: in threads or processes, ahead of the step that takes them. What a
step's call gets depends on the step's rows alone, and its random numbers on the step alone. So
neither their number nor a resumed training changes anything.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.processors import usable_processors

Arrays = Mapping[str, NDArray[Any]]

#: Calls that run at the same time in one worker.
_MOST_THREADS = 4
#: What the dtypes of numpy become, if it is not their own.
_KINDS = {"b": "bool", "f": "float32"}
_NUMPY = {"string": np.dtype(object)}


class Transform:
    """The user's function.

    Parameters
    ----------
    function : callable
        ``function(columns, training)``, or ``function(columns, training, random)`` with a random
        generator of numpy.
    seed : int
    """

    def __init__(self, function: Callable[..., Any], seed: int) -> None:
        self._function, self._seed = function, seed
        self._is_random = takes_random(function)
        #: How many threads may call at the same time.
        self.threads = min(len(usable_processors()), _MOST_THREADS)

    def __call__(
        self, columns: Arrays, *, training: bool, place: Sequence[int]
    ) -> dict[str, NDArray[Any]]:
        """Return what the function makes of some rows, in dtypes that columns have.

        Parameters
        ----------
        columns : dict of str to array
        training : bool
        place : sequence of int
            What the random numbers depend on, beside the seed: the step and the rank.

        Raises
        ------
        DataError
            If the function does not return arrays of equally many rows.
        """
        # The function may write into its arrays, and rows that are mapped are read-only.
        own = {n: v if v.flags.writeable else np.array(v) for n, v in columns.items()}
        if self._is_random:
            random = np.random.default_rng([self._seed, training, *place])
            made = self._function(own, training, random)
        else:
            made = self._function(own, training)
        if not isinstance(made, Mapping) or not made:
            raise DataError(
                f"batch_transform returned {_kind(made)} and not a dict of arrays\n"
                "Let it return columns, with what it has changed or added"
            )
        found = {str(name): _array(str(name), value) for name, value in made.items()}
        counts = {name: len(values) for name, values in found.items()}
        if len(set(counts.values())) > 1:
            raise DataError(
                f"batch_transform returned arrays of different numbers of rows: {counts}\n"
                "Give each array one entry for each row"
            )
        return found


class Transforms(Protocol):
    """Calls the user's function, here or in another process."""

    threads: int

    def __call__(
        self, columns: Arrays, *, training: bool, place: Sequence[int]
    ) -> dict[str, NDArray[Any]]:
        """Return what `Transform` returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What comes out of a transform.

    Parameters
    ----------
    spec : FeatureSpec
        The arrays by their roles.
    factor : int
        How many rows come out for each that goes in.
    """

    spec: FeatureSpec
    factor: int = 1

    def checked(self, arrays: Arrays, rows: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of a batch of `rows` rows, as the first batch's were.

        Raises
        ------
        DataError
            If they are others, of other shapes or numbers of rows.
        """
        found = {}
        for column in self.spec.columns:
            if column.name not in arrays:
                raise DataError(
                    f"batch_transform returned {list(arrays)} in one batch, and also "
                    f"{column.name!r} in another\nLet it return the same arrays for every batch"
                )
            values, dtype = arrays[column.name], _NUMPY.get(column.dtype, np.dtype(column.dtype))
            if len(values) != rows * self.factor:
                raise rows_error(len(values), rows, self.factor)
            if values.shape[1:] != column.shape or not np.can_cast(
                values.dtype, dtype, "same_kind"
            ):
                raise DataError(
                    f"batch_transform returned {column.name!r} with rows of shape "
                    f"{values.shape[1:]} and {values.dtype} in one batch, and {column.shape} and "
                    f"{column.dtype} in another\nLet it return rows of one shape: pad or cut them"
                )
            found[column.name] = values.astype(dtype, copy=False)
        return found


class TransformedColumns(Mapping[str, NDArray[Any]]):
    """The columns that a transform makes, step by step; before any step only a sample is there.

    Parameters
    ----------
    raw : dict of str to array
        The rows that go in.
    transform : Transforms
    made : Made
    sample : dict of str to array
        The first rows that came out; zeros if this rank has none.
    training : bool
    rank : int

    Attributes
    ----------
    problem : Exception or None
        The first error of a step. A framework may wrap it into one of its own.
    """

    def __init__(
        self,
        raw: Arrays,
        transform: Transforms,
        made: Made,
        sample: Arrays,
        *,
        training: bool,
        rank: int,
    ) -> None:
        self._raw, self._transform, self._sample = raw, transform, sample
        self._training, self._rank = training, rank
        self._checks: list[tuple[str, Callable[[NDArray[Any]], None]]] = []
        self.made = made
        self.problem: Exception | None = None

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a sample of a column."""
        return self._sample[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the columns' names."""
        return iter(self._sample)

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self._sample)

    def check_each(self, name: str, check: Callable[[NDArray[Any]], None]) -> None:
        """Have every step's values of a column checked, because they are not there before."""
        self._checks.append((name, check))

    def gather(self, orders: Sequence[NDArray[np.int64]], first: int) -> dict[str, NDArray[Any]]:
        """Return the rows of some steps, one step after another, all with the most rows of one.

        Parameters
        ----------
        orders : sequence of array
            The numbers of each step's rows.
        first : int
            The number of the first step, over all passes.

        Returns
        -------
        dict of str to array
            Of shape (steps * most, *row shape). Steps with fewer rows are filled up with zeros.
        """
        most = max(*map(len, orders), 1) * self.made.factor
        found = {
            column.name: _nothing(column, len(orders) * most) for column in self.made.spec.columns
        }

        def put(number: int) -> None:
            if not len(orders[number]):
                return
            start = number * most
            for name, values in self._step(orders[number], first + number).items():
                found[name][start : start + len(values)] = values

        try:
            threads = min(len(orders), self._transform.threads)
            if threads == 1:
                for number in range(len(orders)):
                    put(number)
            else:
                with ThreadPoolExecutor(threads, "orca-transform") as pool:
                    list(pool.map(put, range(len(orders))))
        except Exception as error:
            self.problem = self.problem or error
            raise
        return found

    def _step(self, order: NDArray[np.int64], step: int) -> dict[str, NDArray[Any]]:
        taken = {name: np.take(values, order, axis=0) for name, values in self._raw.items()}
        found = self._transform(taken, training=self._training, place=(step, self._rank))
        arrays = self.made.checked(found, len(order))
        for name, check in self._checks:
            check(arrays[name])
        return arrays


def check_each(columns: Arrays, name: str, check: Callable[[NDArray[Any]], None]) -> None:
    """Have a column's values checked in every step if they come out of a transform."""
    if isinstance(columns, TransformedColumns):
        columns.check_each(name, check)


def transform_problem(columns: Arrays) -> Exception | None:
    """Return the first error of a transform that makes these columns, if there was one."""
    return columns.problem if isinstance(columns, TransformedColumns) else None


def takes_random(function: Callable[..., Any]) -> bool:
    """Whether a function takes a random generator as its third argument."""
    try:
        inspect.signature(function).bind(None, True, None)
    except (TypeError, ValueError):  # a built-in function may have no signature
        return False
    return True


def roles(arrays: Arrays, raw: FeatureSpec) -> FeatureSpec:
    """Return what came out of a transform by the roles of what went in.

    Labels and weights keep their names. All else is a feature, in the order of the dict.

    Raises
    ------
    DataError
        If a label or a weight is missing, or no feature is there.
    """
    specs = {name: _spec(name, values) for name, values in arrays.items()}
    keys = dict(zip((c.name for c in raw.features), raw.feature_keys or (), strict=False))
    weights = [raw.weight] if raw.weight else []
    others = [*raw.labels, *weights, *(column for _, column in raw.output_weights)]
    missing = [column.name for column in others if column.name not in specs]
    if missing:
        raise DataError(
            f"batch_transform returned {list(specs)}, without {missing}, which are labels or "
            "weights\nLet it return these, too: changed or as they came"
        )
    given = {column.name for column in raw.features}
    names = [n for n in specs if n in given or n not in {column.name for column in others}]
    if not names:
        raise DataError(
            f"batch_transform returned {list(specs)}, and none of it is an input of the model\n"
            "Let it return features, too: any name that is none of a label's or a weight's"
        )

    def of(column: ColumnSpec) -> ColumnSpec:
        return specs[column.name]

    return replace(
        raw,
        features=tuple(specs[name] for name in names),
        labels=tuple(map(of, raw.labels)),
        feature_keys=None if raw.feature_keys is None else tuple(keys.get(n, n) for n in names),
        weight=of(raw.weight) if raw.weight else None,
        output_weights=tuple((output, of(column)) for output, column in raw.output_weights),
    )


def factor_of(made: int, rows: int, *, training: bool) -> int:
    """Return how many rows come out for each, from a first batch.

    Raises
    ------
    DataError
        If it is no whole number, or more than one where nothing is trained.
    """
    factor = made // rows
    if factor < 1 or factor * rows != made or (factor > 1 and not training):
        raise rows_error(made, rows, 1)
    return factor


def rows_error(made: int, rows: int, factor: int) -> DataError:
    """Return the error about a transform that changes the number of rows."""
    wanted = f", and {factor} for each before" if factor > 1 else ""
    return DataError(
        f"batch_transform returned {made} rows for {rows}{wanted}\n"
        "Let it return one row for each; while training is true it may be several, but always as "
        "many for each"
    )


def _spec(name: str, values: NDArray[Any]) -> ColumnSpec:
    dtype = "string" if values.dtype == object else values.dtype.name
    return ColumnSpec(name=name, dtype=dtype, shape=values.shape[1:])


def _array(name: str, value: Any) -> NDArray[Any]:
    """Return what a function returned as an array of a dtype that columns have."""
    values = np.asarray(value)
    kind = values.dtype.kind
    if not values.ndim:
        raise DataError(
            f"batch_transform returned {name!r} as {_kind(value)}, which has no rows\n"
            "Return an array with one entry for each row"
        )
    if kind in "SUO":
        flat = [
            one.encode() if isinstance(one, str) else one for one in values.reshape(-1).tolist()
        ]
        if all(isinstance(one, bytes) for one in flat):
            found = np.empty(len(flat), object)
            found[:] = flat
            return found.reshape(values.shape)
    elif kind in "iu":
        small = values.dtype.itemsize < 4 or values.dtype == np.int32
        return values.astype(np.int32 if small else np.int64, copy=False)
    elif kind in _KINDS:
        return values.astype(_KINDS[kind], copy=False)
    raise DataError(
        f"batch_transform returned {name!r} as an array of {values.dtype}, which no model takes\n"
        "Return numbers, booleans or text, and arrays of one shape: np.stack makes one of several"
    )


def _nothing(column: ColumnSpec, rows: int) -> NDArray[Any]:
    shape = (rows, *(length or 0 for length in column.shape))
    if column.dtype == "string":
        return np.full(shape, b"", object)
    return np.zeros(shape, column.dtype)


def nothing(spec: FeatureSpec) -> dict[str, NDArray[Any]]:
    """Return one row of zeros for each column."""
    return {column.name: _nothing(column, 1) for column in spec.columns}


def _kind(value: object) -> str:
    return f"a {type(value).__qualname__}"
