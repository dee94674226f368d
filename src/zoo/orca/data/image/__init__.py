"""Pictures: files and archives of them as an XShards, and as Parquet files with a schema."""

from zoo.orca.data.image.formats import (
    write_from_directory,
    write_mnist,
    write_parquet,
    write_voc,
)
from zoo.orca.data.image.parquet_dataset import ParquetDataset, read_parquet
from zoo.orca.data.image.preprocessing import read_images, read_voc
from zoo.orca.data.image.schema import DType, FeatureType, SchemaField

__all__ = [
    "DType",
    "FeatureType",
    "ParquetDataset",
    "SchemaField",
    "read_images",
    "read_parquet",
    "read_voc",
    "write_from_directory",
    "write_mnist",
    "write_parquet",
    "write_voc",
]
