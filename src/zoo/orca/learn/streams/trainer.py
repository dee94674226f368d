"""What ``foreachBatch`` calls: it trains on each micro-batch of a stream exactly once.

::

    Spark                      here, for batch n
    notes what batch n is  ->  path has batch n?  yes: nothing is left to do
                               no: fit, then write path anew, with n in it
    notes that n is done   <-

Spark gives a batch again if the program ended before it noted the end of that batch. The state and
the number of its last batch are one file, which is replaced as a whole. So whatever moment the
program ends at, the batch has been trained and is in the file, or it is not and comes again.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, cast

from pyspark.sql import DataFrame

from zoo.orca.driver.session.cluster import is_connect
from zoo.orca.driver.storage import load_state
from zoo.orca.errors import DataError, InvalidInputError, StateError
from zoo.orca.files import is_regular
from zoo.orca.wire.faults import NO_ROWS
from zoo.orca.wire.packing import State

_logger = logging.getLogger(__name__)

#: File endings of frameworks' own formats.
_FORMATS = (".keras", ".h5", ".pt", ".pth")
#: Keys of a state's header.
_STREAM, _CURSOR = "stream", "cursor"
#: Where Spark tells the thread of a query whose it is; the same after a restart.
_QUERY = "sql.streaming.queryId"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a stream stands.

    Parameters
    ----------
    batch : int
        The last batch that was trained; -1 if none was.
    query : str
        The stream's own name, which its checkpoint keeps; empty if Spark does not tell.
    """

    batch: int = -1
    query: str = ""


class _Estimator(Protocol):
    """What a trainer needs of an estimator."""

    _state: State | None
    _stream_path: str | None

    def fit(self, data: Any, **arguments: Any) -> Any: ...

    def load(self, path: str) -> None: ...

    def _write(self, state: State, path: str) -> None: ...


class BatchTrainer:
    """A function for ``foreachBatch``; `TrainsOnStreams.batch_trainer` makes it.

    Over Spark Connect it travels to the server, which calls it there.
    """

    def __init__(self, estimator: _Estimator, path: str, arguments: Mapping[str, Any]) -> None:
        self._estimator = estimator
        self._path = path
        self._arguments = dict(arguments)
        #: What the file says; None while nobody has looked.
        self._last: Place | None = None
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        # In another process, and at another time, the file may say something else.
        return {**self.__dict__, "_last": None}

    def __call__(self, batch: DataFrame, number: int) -> None:
        """Train on a micro-batch, and write the state; do neither if it has been trained.

        Raises
        ------
        StateError
            If `path` is of another stream, or knows more of this one than Spark does.
        """
        last = self._last or self._begin()
        place = Place(batch=number, query=_query_of(batch))
        if _is_trained(last, place, self._path):
            _logger.info("%s has batch %d already: it is not trained again", self._path, number)
            return
        self._check_alone()
        before = self._estimator._state
        try:
            self._train(batch, place, last)
        except BaseException as error:
            # What is in memory must be what is in the file: Spark gives this batch again.
            self._estimator._state = before
            if isinstance(error, DataError) and str(error) == NO_ROWS:
                return
            raise
        self._last = place

    def _begin(self) -> Place:
        """Go on from the file, if it is there; return where it stands."""
        place = Place()
        if is_regular(self._path):
            noted = load_state(self._path).meta.get(_STREAM)
            if noted is None:
                raise StateError(
                    f"{self._path} was not written by batch_trainer, so it does not say which "
                    "batches it has seen\n"
                    f"est.load({self._path!r}) goes on from it; give batch_trainer another path"
                )
            self._estimator.load(self._path)
            self._estimator._stream_path = self._path
            place = self._last = Place(**noted)
        return place

    def _check_alone(self) -> None:
        """Refuse to go on with what the estimator has learned from another stream since."""
        other = self._estimator._stream_path
        if self._last is not None and other not in (None, self._path):
            raise StateError(
                f"the estimator has been trained by the batch_trainer of {other} since the last "
                f"batch of {self._path}\nMake an estimator for each stream: both would learn from "
                "both"
            )

    def _train(self, batch: DataFrame, place: Place, last: Place) -> None:
        """Train, and write what comes of it."""
        estimator = self._estimator
        estimator._state = _at_a_pass(estimator._state)
        estimator.fit(batch, **self._arguments)
        trained = cast(State, estimator._state)
        noted = replace(trained, meta={**trained.meta, _STREAM: asdict(place)})
        self._check_file(last, place)
        estimator._write(noted, self._path)
        estimator._stream_path = self._path

    def _check_file(self, last: Place, place: Place) -> None:
        """Refuse to write over what another trainer has written while this one trained."""
        if not is_regular(self._path):
            return
        found = load_state(self._path).meta.get(_STREAM)
        # The new place, where an interrupt came just after it was written.
        if found not in (asdict(last), asdict(place)):
            other = Place(**found) if found else Place()
            raise StateError(
                f"{self._path} has been written by another stream or program meanwhile: it has "
                f"batch {other.batch} of {other.query or 'a stream'}, and had batch {last.batch}\n"
                f"{_ANOTHER}"
            )


class TrainsOnStreams:
    """What estimators have for streams."""

    #: The path of the trainer that has trained the estimator last.
    _stream_path: str | None = None

    def batch_trainer(self, path: str, **fit_arguments: Any) -> BatchTrainer:
        """Return a function for ``writeStream.foreachBatch`` that trains on each micro-batch once.

        It fits each micro-batch, then writes the state to `path`, completely or not at all, with
        the batch's number. A batch that Spark gives again after a crash is skipped if `path` has
        it, so each is trained exactly once. Micro-batches without rows are skipped.

        If `path` is there, the estimator goes on from it: a new process goes on where the last one
        ended. A `path` belongs to one stream, that is to one ``checkpointLocation``.

        Parameters
        ----------
        path : str
            A local path or any URL that pyarrow or fsspec opens; over Spark Connect, as the server
            sees it. `load` reads it, too.
        **fit_arguments
            The arguments of `fit` but the data.

        Returns
        -------
        BatchTrainer

        Raises
        ------
        InvalidInputError
            If `fit` has no such argument.
        StateError
            If `path` is there and cannot be read, or `batch_trainer` did not write it.
        """
        estimator = cast(_Estimator, self)
        if not isinstance(path, (str, os.PathLike)) or not str(path):
            raise InvalidInputError(
                f"path must be a path or URL of a file, got {path!r}\n"
                "Name one: est.batch_trainer('model.safetensors')"
            )
        stem, dot, ending = str(path).rpartition(".")
        if f"{dot}{ending}" in _FORMATS:
            raise InvalidInputError(
                f"{path} ends in .{ending}, which is a framework's own format: it has no place for "
                f"the batches that were seen\nName it {stem}.safetensors; est.save({str(path)!r}) "
                "writes the other one at any time"
            )
        try:
            inspect.signature(estimator.fit).bind(None, **fit_arguments)
        except TypeError as error:
            raise InvalidInputError(
                f"batch_trainer cannot call fit with these arguments: {error}\n"
                "Give it path and the arguments of fit but the data, which the stream brings: "
                "est.batch_trainer(path, epochs=1)"
            ) from None
        return BatchTrainer(estimator, str(path), fit_arguments)


def _query_of(batch: DataFrame) -> str:
    """Return the query that a micro-batch is of; empty if Spark does not tell, as over Connect."""
    spark = batch.sparkSession
    return "" if is_connect(spark) else spark.sparkContext.getLocalProperty(_QUERY) or ""


def _is_trained(last: Place, place: Place, path: str) -> bool:
    """Whether a batch is in the file; raises if the file is no file of this stream.

    Spark gives only its last batch again. Any earlier one means that the stream began anew.
    """
    if last.query and place.query and last.query != place.query:
        raise StateError(
            f"{path} has seen batch {last.batch} of another stream, whose id is {last.query}\n"
            f"{_ANOTHER}"
        )
    if place.batch < last.batch:
        raise StateError(
            f"{path} has seen batch {last.batch}, and Spark gives batch {place.batch}: "
            f"checkpointLocation is a new one, or an earlier copy\n{_ANOTHER}"
        )
    return place.batch == last.batch


_ANOTHER = (
    "One path belongs to one checkpointLocation: name another path for a new one; est.load of the "
    "old path before goes on from its weights"
)


def _at_a_pass(state: State | None) -> State | None:
    """Return the state at the beginning of a pass: the rows are others than those before.

    Training that has stopped within a pass (``steps_per_epoch``) would go on within the new rows,
    if they are as many, and leave out the first of them.
    """
    cursor = state.meta.get(_CURSOR) if state is not None else None
    if state is None or not cursor or not cursor["step"]:
        return state
    begun = {**cursor, "pass": cursor["pass"] + 1, "step": 0}
    return replace(state, meta={**state.meta, _CURSOR: begun})
