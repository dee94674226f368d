"""Rows with pictures as Parquet files: ``chunk=0``, ``chunk=1``, … and their schema beside them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from zoo.orca.context.context import OrcaContext
from zoo.orca.data.image.schema import SchemaField, decode_schema, encode_schema
from zoo.orca.data.pandas.paths import from_here
from zoo.orca.data.shard.lazy import local_shards
from zoo.orca.data.shard.xshards import XShards, made
from zoo.orca.data.tf.data import Dataset
from zoo.orca.errors import InvalidInputError
from zoo.orca.files import (
    is_directory,
    list_names,
    make_directory,
    read_bytes,
    remove_directory,
    write_bytes,
)
from zoo.orca.worker.shards.pictures import ReadChunk

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

_METADATA = "_orca_metadata"
_MODES = ("overwrite", "errorifexists")


class ParquetDataset:
    """Writes and reads datasets of pictures, arrays and values."""

    @staticmethod
    def write(
        path: str,
        generator: Iterable[Mapping[str, Any]],
        schema: Mapping[str, SchemaField],
        block_size: int = 1000,
        write_mode: str = "overwrite",
    ) -> None:
        """Write rows, in their order.

        Parameters
        ----------
        path : str
            A directory, by path or URL.
        generator : iterable of dict
            The rows; a picture is the path of its file, or its bytes.
        schema : dict of str to SchemaField
        block_size : int
            Rows of one file.
        write_mode : str
            ``"overwrite"`` removes what is there, ``"errorifexists"`` refuses it.
        """
        if write_mode not in _MODES:
            raise InvalidInputError(
                f"write_mode cannot be {write_mode!r}\nIt is {' or '.join(map(repr, _MODES))}"
            )
        if is_directory(path):
            if write_mode != "overwrite":
                raise InvalidInputError(
                    f"{path} exists\nName another directory, or write_mode='overwrite'"
                )
            remove_directory(path)
        make_directory(path)
        types = pa.schema([(name, field.arrow()) for name, field in schema.items()])
        rows = iter(generator)
        for number in itertools.count():
            block = list(itertools.islice(rows, block_size))
            if not block and number:
                break
            cells = [
                {name: field.cell(row[name], name) for name, field in schema.items()}
                for row in block
            ]
            sink = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(cells, types), sink)
            write_bytes(f"{path}/chunk={number}/{number}.parquet", sink.getvalue())
        # Last: a dataset without it is not complete.
        write_bytes(f"{path}/{_METADATA}", encode_schema(schema).encode())

    @staticmethod
    def read_as_xshards(path: str) -> XShards:
        """Return a shard for each block: a dict of arrays, pictures as arrays of their points."""
        spark = OrcaContext.get_spark_session()
        chunks = from_here(spark, _chunks(path))
        shards = local_shards(spark, chunks)
        return made(shards.then(ReadChunk(encode_schema(_schema(path)))))

    @staticmethod
    def read_as_tf(path: str) -> Dataset:
        """Return a `zoo.orca.data.tf.data.Dataset` of dicts: `map` makes pairs of them."""
        return Dataset.from_tensor_slices(ParquetDataset.read_as_xshards(path))

    @staticmethod
    def read_as_torch(path: str) -> XShards:
        """Return the shards as an estimator of PyTorch takes them: the last column is the label."""
        *_, label = _schema(path)

        def pair(shard: dict[str, Any]) -> dict[str, Any]:
            inputs = tuple(value for name, value in shard.items() if name != label)
            return {"x": inputs[0] if len(inputs) == 1 else inputs, "y": shard[label]}

        return ParquetDataset.read_as_xshards(path).transform_shard(pair)


def read_parquet(
    format: str,
    path: str,
    transforms: Callable[[dict[str, Any]], Any] | None = None,
    config: Mapping[str, int] | None = None,
    batch_size: int = 1,
) -> Any:
    """Read a dataset in this process, row by row, such as in a creator of data.

    Parameters
    ----------
    format : str
        ``"tf_dataset"`` or ``"dataloader"``.
    path : str
    transforms : callable, optional
        Makes an element of a row, a dict of arrays, values and pictures' bytes.
    config : dict, optional
        ``num_shards`` and ``shard_id``: which of as many parts to read, by rows.
    batch_size : int
        Of a dataloader.
    """
    if format not in ("tf_dataset", "dataloader"):
        raise InvalidInputError(f"format cannot be {format!r}\nIt is 'tf_dataset' or 'dataloader'")
    given = dict(config or {})
    count, place = given.get("num_shards", 1), given.get("shard_id", 0)

    def elements() -> Iterator[Any]:
        for row in itertools.islice(rows_of_dataset(path), place, None, count):
            yield row if transforms is None else transforms(row)

    return _dataloader(elements, batch_size) if format == "dataloader" else _tf_dataset(elements)


def rows_of_dataset(path: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a dataset; a picture is its file's bytes."""
    schema = _schema(path)
    for chunk in _chunks(path):
        for row in pq.read_table(pa.BufferReader(read_bytes(chunk))).to_pylist():
            yield {name: field.value(row[name]) for name, field in schema.items()}


def _schema(path: str) -> dict[str, SchemaField]:
    return decode_schema(read_bytes(f"{path}/{_METADATA}").decode())


def _chunks(path: str) -> list[str]:
    """Return the files of a dataset in the order of their rows."""
    names = [name for name in list_names(path) if name.startswith("chunk=")]
    numbers = sorted(int(name.partition("=")[2]) for name in names)
    return [f"{path}/chunk={number}/{number}.parquet" for number in numbers]


def _dataloader(elements: Callable[[], Iterator[Any]], batch_size: int) -> DataLoader[Any]:
    from zoo.orca.worker.shards.pictures import iterable_of_torch

    return iterable_of_torch(elements, batch_size)


def _tf_dataset(elements: Callable[[], Iterator[Any]]) -> Any:
    from zoo.orca.worker.shards.pictures import dataset_of_tensorflow

    return dataset_of_tensorflow(elements)
