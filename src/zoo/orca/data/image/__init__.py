"""Pictures as an XShards, as Parquet files with a schema, and as records of TensorFlow."""

from zoo.orca.data.image.formats import (
    write_from_directory,
    write_mnist,
    write_parquet,
    write_voc,
)
from zoo.orca.data.image.parquet_dataset import ParquetDataset, read_parquet
from zoo.orca.data.image.preprocessing import read_coco, read_images, read_voc
from zoo.orca.data.image.schema import DType, FeatureType, SchemaField
from zoo.orca.data.image.tfrecord_dataset import read_tfrecord, write_imagenet, write_tfrecord

__all__ = [
    "DType",
    "FeatureType",
    "ParquetDataset",
    "SchemaField",
    "read_coco",
    "read_images",
    "read_parquet",
    "read_tfrecord",
    "read_voc",
    "write_from_directory",
    "write_imagenet",
    "write_mnist",
    "write_parquet",
    "write_tfrecord",
    "write_voc",
]
