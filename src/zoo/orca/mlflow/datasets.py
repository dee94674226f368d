"""Where a call's rows come from, as inputs of a run."""

import logging
import posixpath
import re
from collections.abc import Iterable
from typing import Any

_logger = logging.getLogger(__name__)

#: The directory of one value of a partition column.
_PARTITION = re.compile(r"[^/=]+=[^/]*")


def log_data(run_id: str, data: Any, context: str) -> None:
    """Log the rows of a call as an input of a run; of forms that MLflow does not know, nothing."""
    import mlflow
    from mlflow.entities import DatasetInput, InputTag

    dataset = _dataset(data)
    if dataset is None:
        return
    tags = [InputTag("mlflow.data.context", context)]
    found = DatasetInput(dataset=dataset._to_mlflow_entity(), tags=tags)
    mlflow.MlflowClient().log_inputs(run_id, [found])


def _dataset(data: Any) -> Any:
    from mlflow.data.pandas_dataset import from_pandas
    from pyspark.sql import DataFrame

    if isinstance(data, DataFrame):
        return _of_spark(data)
    if type(data).__module__.startswith("pandas.") and type(data).__name__ == "DataFrame":
        return from_pandas(data)
    return None


def _of_spark(frame: Any) -> Any:
    """Return a DataFrame's files, or the program's own name, with the columns.

    MLflow's own class of it would count the rows, which computes them all once more.
    """
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.spark_dataset import from_spark

    found = from_spark(frame, path=source_of(frame.inputFiles()))
    return MetaDataset(source=found.source, digest=found.digest, schema=_schema(frame))


def source_of(files: Iterable[str]) -> str | None:
    """Return the one directory, or file, that a DataFrame's files are of; None if there is none.

    Directories of partitions count as part of what they are in.
    """
    found = set()
    names = list(files)
    for name in names:
        parent = posixpath.dirname(name)
        while _PARTITION.fullmatch(posixpath.basename(parent)):
            parent = posixpath.dirname(parent)
        found.add(parent)
    if len(found) != 1:
        return None
    return names[0] if len(names) == 1 and not _is_part(names[0]) else found.pop()


def _is_part(name: str) -> bool:
    """Whether a file is one that Spark wrote into a directory of its own."""
    return posixpath.basename(name).startswith("part-")


def _schema(frame: Any) -> Any:
    """Return the columns whose types MLflow knows."""
    from mlflow.types import ColSpec, Schema

    known = {
        "boolean": "boolean",
        "tinyint": "integer",
        "smallint": "integer",
        "int": "integer",
        "bigint": "long",
        "float": "float",
        "double": "double",
        "string": "string",
        "binary": "binary",
        "timestamp": "datetime",
        "date": "datetime",
    }
    fields = [(field.name, field.dataType.simpleString()) for field in frame.schema.fields]
    found = [ColSpec(known[kind], name) for name, kind in fields if kind in known]
    return Schema(found) if found else None
