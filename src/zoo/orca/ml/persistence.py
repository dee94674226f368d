"""Stages as directories, which Spark writes and reads wherever it can.

::

    metadata    JSON, as of any stage of Spark ML: class, uid, parameters, and more under "orca"
    code        parameters that are code, pickled, each by its name
    weights     a model's state: the bytes of a safetensors file, in pieces

A directory may be where only Spark reaches, or be the server's of Spark Connect. So DataFrames
carry all of it.
"""

import ast
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pyspark.errors import AnalysisException
from pyspark.ml.param import Params
from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from zoo.orca.driver.reports.spark_failures import read_error, spark_errors
from zoo.orca.errors import InvalidInputError, MissingPackageError, StateError
from zoo.orca.ml.summary import TrainingSummary
from zoo.orca.wire.packing import pack, split, unpack

_logger = logging.getLogger(__name__)

#: Bytes of a row, and rows of a job, as they are written: the driver holds so many at once.
_PIECE, _PIECES = 8 << 20, 8
#: Dicts that may have functions and objects in them.
_MAY_BE_CODE = ("config", "fitParams", "estimatorParams")
#: What a model that is read without it does not miss until it is trained.
_OF_TRAINING = (
    *("compileArgsCreator", "fitParams"),
    *("optimizer", "loss", "metrics", "schedulerCreator"),
)
_ORCA, _LITERALS, _PACKED, _WEIGHTS, _HISTORY = "orca", "literals", "code", "weights", "history"


class Stored(Params, MLReadable[Any], MLWritable):
    """A stage that can be written to a directory and read from it."""

    #: Parameters whose values are code.
    _code: ClassVar[tuple[str, ...]] = ()

    def write(self) -> MLWriter:
        """Return a writer: ``write().overwrite().save(path)``."""
        return StageWriter(self)

    @classmethod
    def read(cls, **code: Any) -> MLReader[Any]:
        """Return a reader, for ``read().load(path)``.

        Parameters
        ----------
        **code : object
            Parameters that are code, such as ``modelCreator``. With any of them nothing is
            unpickled: what only training needs, and is not given, stays unset.
        """
        return StageReader(cls, code)

    @classmethod
    def load(cls, path: str, **code: Any) -> Any:
        """Read what `write` wrote: ``read(**code).load(path)``."""
        return cls.read(**code).load(path)


class StageWriter(MLWriter):
    """Writes a stage."""

    def __init__(self, stage: Stored) -> None:
        super().__init__()
        self._stage = stage

    def save(self, path: str) -> None:
        """Write the stage to a directory.

        Raises
        ------
        InvalidInputError
            If there is something already, and `overwrite` was not called.
        """
        if self.shouldOverwrite:
            _clear(self, path)
        try:
            self.saveImpl(path)
        except AnalysisException as error:
            if error.getCondition() != "PATH_ALREADY_EXISTS":
                raise
            raise InvalidInputError(
                f"{path} is there already\nName another, or write().overwrite().save(path)"
            ) from error

    def saveImpl(self, path: str) -> None:
        """Write the stage to a directory that does not exist yet."""
        stage, spark = self._stage, self.sparkSession
        plain, literals, code = _sorted_out(stage)
        more: dict[str, Any] = {_LITERALS: literals, _PACKED: sorted(code)}
        weights = b""
        made = getattr(stage, "_estimator", None)
        if made is not None:
            weights = _state_of(made)
            more[_WEIGHTS] = [len(weights), hashlib.sha256(weights).hexdigest()]
            more[_HISTORY] = stage.summary.history  # type: ignore[attr-defined]
        DefaultParamsWriter.saveMetadata(stage, path, spark, {_ORCA: more}, plain)
        if code:
            rows = [(name, bytearray(data)) for name, data in sorted(code.items())]
            frame = spark.createDataFrame(rows, "name string, data binary")
            frame.coalesce(1).write.parquet(_within(path, _PACKED))
        if weights:
            _write_pieces(spark, _within(path, _WEIGHTS), weights)


class StageReader(MLReader[Any]):
    """Reads a stage of a class."""

    def __init__(self, kind: type[Stored], code: Mapping[str, Any]) -> None:
        super().__init__()
        known = (*kind._code, *_MAY_BE_CODE)
        unknown = [name for name in code if name not in known]
        if unknown:
            raise InvalidInputError(
                f"{kind.__name__}: {unknown[0]!r} is no parameter that may be code\n"
                f"Those are {', '.join(known)}; set others on what load returns"
            )
        self._kind, self._given = kind, dict(code)

    def load(self, path: str) -> Any:
        """Return the stage in a directory.

        Raises
        ------
        StateError
            If there is none, it is of another class, or it is damaged.
        """
        metadata = self._metadata(path)
        kept = metadata[_ORCA]
        stage = self._kind()
        stage._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(stage, metadata)
        values = {name: ast.literal_eval(text) for name, text in kept[_LITERALS].items()}
        stage._set(**values, **self._code_in(path, kept[_PACKED]))
        if _WEIGHTS in kept:
            size, digest = kept[_WEIGHTS]
            with _explained(path, "its weights cannot be read"):
                weights = _read_pieces(self.sparkSession, _within(path, _WEIGHTS))
            if len(weights) != size or hashlib.sha256(weights).hexdigest() != digest:
                raise _damaged(path, "its weights are not those that were written")
            made = _loaded(stage, weights)
            stage._trained(made, TrainingSummary(kept[_HISTORY]))  # type: ignore[attr-defined]
        return stage

    def _metadata(self, path: str) -> dict[str, Any]:
        with _explained(path, "its metadata cannot be read"):
            try:
                metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
            except AnalysisException as error:
                raise StateError(
                    f"there is no stage in {path!r}: {str(error).splitlines()[0]}\n"
                    "Name the directory that write().save(path) wrote"
                ) from error
        wanted = f"{self._kind.__module__}.{self._kind.__name__}"
        if metadata["class"] != wanted or _ORCA not in metadata:
            raise StateError(
                f"{path} holds a {metadata['class']}, and not a {wanted}\n"
                f"Read it with {metadata['class'].rpartition('.')[2]}.load"
            )
        return metadata

    def _code_in(self, path: str, names: list[str]) -> dict[str, Any]:
        """Return the parameters that are code: those given, or else those of the pickles."""
        if self._given:
            left = [name for name in names if name not in self._given]
            needed = [name for name in left if name not in _OF_TRAINING]
            if needed:
                raise StateError(
                    f"{path} holds {needed[0]} as a pickle, nothing is to be unpickled, and the "
                    f"model is another one without it\nGive it, too: {self._kind.__name__}.load("
                    f"path, modelCreator=..., {needed[0].partition('.')[0]}=...)"
                )
            if left:
                _logger.warning("%s: left out, because nothing is unpickled: %s", path, left)
            return self._given
        if not names:
            return {}
        _logger.warning(
            "%s holds %s as pickles, and reading them runs code that is in them: load nothing that "
            "you do not trust, or give them: %s.load(path, %s=...)",
            path,
            names,
            self._kind.__name__,
            "modelCreator" if "modelCreator" in names else names[0],
        )
        with _explained(path, f"{names[0]} cannot be read"):
            rows = self.sparkSession.read.parquet(_within(path, _PACKED)).collect()
        missing = [name for name in names if name not in {row["name"] for row in rows}]
        if missing:
            raise _damaged(path, f"it holds no {missing[0]}")
        return {row["name"]: _unpickled(path, row["name"], bytes(row["data"])) for row in rows}


@contextmanager
def _explained(path: str, what: str) -> Iterator[None]:
    """Turn what Spark tells of files that it cannot read into an error of ours."""
    try:
        yield
    except spark_errors() as error:
        # Not `from error`: Python would print Spark's pages of Java above the line that counts.
        raise _damaged(path, f"{what}: {read_error(error).message.splitlines()[0]}") from None
    except json.JSONDecodeError as error:
        raise _damaged(path, f"{what}: {error}") from error


def _damaged(path: str, why: str) -> StateError:
    return StateError(f"{path} is damaged: {why}\nRead another copy of it, or train anew")


def _sorted_out(stage: Stored) -> tuple[dict[str, Any], dict[str, str], dict[str, bytes]]:
    """Return the parameters that are set: as JSON, as Python's literals, and pickled."""
    plain: dict[str, Any] = {}
    literals: dict[str, str] = {}
    code: dict[str, bytes] = {}
    for param, given in stage._paramMap.items():
        value = _plain(given)
        if param.name not in stage._code and _is_json(value):
            plain[param.name] = value
        elif param.name not in stage._code and _is_literal(value):
            literals[param.name] = repr(value)
        elif value is not None:
            code[param.name] = pack(value, param.name)
    return plain, literals, code


def _plain(value: Any) -> Any:
    """Return a value with numpy's numbers, of which grids are made, as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {_plain(key): _plain(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value


def _is_json(value: Any) -> bool:
    """Whether JSON gives the value back: it turns keys into strings, and tuples into lists."""
    try:
        return _alike(json.loads(json.dumps(value)), value)
    except (TypeError, ValueError):
        return False


def _is_literal(value: Any) -> bool:
    """Whether Python reads the value back, without running anything."""
    try:
        return _alike(ast.literal_eval(repr(value)), value)
    except (TypeError, ValueError, SyntaxError):
        return False


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one form; an array equals nothing here."""
    return bool(repr(one) == repr(other)) and type(one) is type(other)


def _unpickled(path: str, name: str, data: bytes) -> Any:
    try:
        return unpack(data)
    except ImportError as error:
        raise MissingPackageError(
            f"{path}: {name} cannot be read, because a module is missing here: {error}\n"
            "Install it, or give the code: load(path, modelCreator=...)"
        ) from error
    except AttributeError as error:  # a module of today has no such function any more
        raise StateError(
            f"{path}: {name} cannot be read, because code has changed: {error}\n"
            "Give today's code: load(path, modelCreator=...)"
        ) from error


def _state_of(estimator: Any) -> bytes:
    """Return what the estimator saves: a safetensors file."""
    with tempfile.TemporaryDirectory(prefix="orca-ml-") as directory:
        return Path(estimator.save(os.path.join(directory, "state.safetensors"))).read_bytes()


def _loaded(stage: Any, weights: bytes) -> Any:
    """Return the stage's estimator with a state."""
    made = stage._made()
    with tempfile.TemporaryDirectory(prefix="orca-ml-") as directory:
        path = Path(directory, "state.safetensors")
        path.write_bytes(weights)
        made.load(str(path))
    return made


def _write_pieces(spark: SparkSession, path: str, data: bytes) -> None:
    for rows in _batched(enumerate(split(data, _PIECE))):
        frame = spark.createDataFrame(rows, "piece int, data binary")
        frame.coalesce(1).write.mode("append").parquet(path)


def _batched(pieces: Iterator[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytearray]]]:
    rows: list[tuple[int, bytearray]] = []
    for number, piece in pieces:
        rows.append((number, bytearray(piece)))
        if len(rows) == _PIECES:
            yield rows
            rows = []
    if rows:
        yield rows


def _read_pieces(spark: SparkSession, path: str) -> bytes:
    # Not collect: all pieces together may be more than spark.driver.maxResultSize.
    rows = spark.read.parquet(path).toLocalIterator()
    pieces = {row["piece"]: bytes(row["data"]) for row in rows}
    return b"".join(pieces[number] for number in sorted(pieces))


def _within(path: str, name: str) -> str:
    return f"{path.rstrip('/')}/{name}"


def _clear(writer: MLWriter, path: str) -> None:
    """Remove what is there: on the server, with Spark Connect."""
    if is_remote():
        from pyspark.ml.connect.readwrite import RemoteMLWriter

        RemoteMLWriter.handleOverwrite(path, True)
    else:
        writer._handleOverwrite(path)
