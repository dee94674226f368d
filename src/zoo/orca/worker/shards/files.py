"""Files as shards: what pandas reads on an executor, and what becomes of frames that Spark read."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.orca.errors import DataError
from zoo.orca.files import read_bytes
from zoo.orca.worker.shards.pieces import join_rows

_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zip": "zip", ".xz": "xz", ".zst": "zstd"}
_TRUE, _FALSE = {"true", "1"}, {"false", "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFiles:
    """Reads the files that a shard names with pandas, one below the other.

    Parameters
    ----------
    function : str
        pandas's function: ``read_csv`` and the like.
    arguments : Mapping
    """

    function: str
    arguments: Mapping[str, Any]

    def __call__(self, shard: Sequence[str]) -> Any:
        """Return one frame."""
        return join_rows([self._read(path) for path in shard])

    def _read(self, path: str) -> Any:
        import pandas as pd

        arguments = dict(self.arguments)
        if self.function != "read_parquet" and arguments.get("compression", "infer") == "infer":
            found = [name for end, name in _COMPRESSED.items() if path.endswith(end)]
            arguments["compression"] = found[0] if found else None
        read: Callable[..., Any] = getattr(pd, self.function)
        try:
            return read(io.BytesIO(read_bytes(path)), **arguments)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"pandas.{self.function} cannot read {path}: {error}\n"
                "Its arguments are those of pandas, and hold for every file"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Makes of a frame that Spark read what pandas would have made.

    Parameters
    ----------
    names : sequence
        pandas's names of the columns.
    dtypes : Mapping
        The types of columns that Spark read as text, by name.
    index : list
        The columns that become the index.
    squeeze : bool
        Whether one single column becomes a Series.
    """

    names: Sequence[Any]
    dtypes: Mapping[Any, Any]
    index: Sequence[Any]
    squeeze: bool

    def __call__(self, shard: Any) -> Any:
        """Return the frame, or a Series."""
        shard.columns = list(self.names)
        for name, dtype in self.dtypes.items():
            shard[name] = _converted(shard[name], name, dtype)
        if self.index:
            shard = shard.set_index(list(self.index))
        return shard.squeeze("columns") if self.squeeze else shard


def _converted(column: Any, name: Any, dtype: Any) -> Any:
    """Return a column of text in another type."""
    import pandas as pd

    wanted = pd.api.types.pandas_dtype(dtype)
    try:
        if pd.api.types.is_bool_dtype(wanted):
            return column.map(_truth).astype(wanted)
        if pd.api.types.is_numeric_dtype(wanted):
            return pd.to_numeric(column).astype(wanted)
        # As numpy's text, what is missing would become the text "None".
        is_text = isinstance(wanted, np.dtype) and wanted.kind in "OSU"
        return column if is_text else column.astype(wanted)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"column {name!r} cannot be {wanted}: {error}\nGive it another dtype"
        ) from error


def _truth(text: str | None) -> bool:
    if text is not None and text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError(f"{text!r} is neither true nor false")
