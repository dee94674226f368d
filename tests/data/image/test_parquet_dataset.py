"""Datasets of pictures: what is written is read, row by row and as shards."""

import gzip
import io
import struct

import numpy as np
import pytest

from zoo.orca.data.image import (
    DType,
    FeatureType,
    ParquetDataset,
    SchemaField,
    read_parquet,
    write_from_directory,
    write_mnist,
    write_parquet,
    write_voc,
)
from zoo.orca.data.image.parquet_dataset import rows_of_dataset
from zoo.orca.errors import DataError, InvalidInputError

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.timeout(120)

XML = """<annotation><object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax>
<ymax>4</ymax></bndbox></object><object><name>unicorn</name></object></annotation>"""


def png(colour):
    stream = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def mnist(tmp_path):
    images = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    labels = np.arange(5, dtype=np.uint8)
    packed = gzip.compress(struct.pack(">4i", 2051, 5, 4, 4) + images.tobytes())
    (tmp_path / "images.gz").write_bytes(packed)
    (tmp_path / "labels").write_bytes(struct.pack(">2i", 2049, 5) + labels.tobytes())
    return str(tmp_path / "images.gz"), str(tmp_path / "labels"), images


def test_mnist_row_by_row_and_in_parts(mnist, tmp_path):
    images, labels, expected = mnist
    path = str(tmp_path / "out")
    write_mnist(images, labels, path, block_size=2)
    rows = list(rows_of_dataset(path))
    np.testing.assert_array_equal(np.stack([row["image"] for row in rows]), expected)
    assert [row["label"] for row in rows] == list(range(5))
    with pytest.raises(InvalidInputError, match="is no file of MNIST's pictures"):
        write_mnist(labels, labels, path)


@pytest.mark.timeout(280)
def test_readers_of_frameworks_take_their_part(mnist, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("tensorflow")
    images, labels, _ = mnist
    path = str(tmp_path / "out")
    write_parquet("mnist", path, images, labels)
    config = {"num_shards": 2, "shard_id": 1}
    loader = read_parquet("dataloader", path, lambda row: row["label"], config, batch_size=2)
    assert [batch.tolist() for batch in loader] == [[1, 3]]
    dataset = read_parquet("tf_dataset", path, config={"num_shards": 2, "shard_id": 0})
    assert [int(row["label"]) for row in dataset] == [0, 2, 4]
    assert next(iter(dataset))["image"].shape == (4, 4)
    with pytest.raises(InvalidInputError, match="format cannot be 'csv'"):
        read_parquet("csv", path)


def test_a_directory_for_each_label(tmp_path):
    for label, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        (tmp_path / "in" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "in" / label / f"{number}.png").write_bytes(png(colour))
    path = str(tmp_path / "out")
    write_from_directory(str(tmp_path / "in"), {"red": 0, "blue": 1}, path)
    rows = list(rows_of_dataset(path))
    assert sorted(row["label"] for row in rows) == [0, 0, 0, 1, 1, 1]
    for row in rows:
        point = np.asarray(Image.open(io.BytesIO(row["image"])))[0, 0].tolist()
        assert point == ([255, 0, 0] if row["label_str"] == "red" else [0, 0, 255])
    again = str(tmp_path / "again")
    write_from_directory(str(tmp_path / "in"), {"red": 0, "blue": 1}, again)
    assert [row["image_id"] for row in rows_of_dataset(again)] == [row["image_id"] for row in rows]
    with pytest.raises(InvalidInputError, match="there are no files in"):
        write_from_directory(str(tmp_path / "in"), {"green": 0}, path)


def test_boxes_of_voc(tmp_path):
    base = tmp_path / "VOC2007"
    for name in ("ImageSets/Main", "JPEGImages", "Annotations"):
        (base / name).mkdir(parents=True)
    (base / "ImageSets/Main/trainval.txt").write_text("a\n")
    (base / "JPEGImages/a.jpg").write_bytes(png((0, 0, 0)))
    (base / "Annotations/a.xml").write_text(XML)
    path = str(tmp_path / "out")
    write_voc(str(tmp_path), [(2007, "trainval")], path)
    (row,) = rows_of_dataset(path)
    shares = [1 / 3, 2 / 2, 3 / 3, 4 / 2, 11]  # of the picture's width and height
    np.testing.assert_allclose(row["label"], [shares], rtol=1e-6)
    assert row["image_id"] == "a.jpg"


def test_rows_that_do_not_fit_and_places_that_are_taken(tmp_path):
    path = str(tmp_path / "out")
    schema = {
        "a": SchemaField(feature_type=FeatureType.NDARRAY, dtype=DType.FLOAT32, shape=(2, -1))
    }
    ParquetDataset.write(path, [{"a": np.ones((2, 5))}], schema)
    with pytest.raises(DataError, match=r"a has the shape \(3, 1\), and the schema says"):
        ParquetDataset.write(path, [{"a": np.ones((3, 1))}], schema)
    with pytest.raises(InvalidInputError, match="exists\nName another directory"):
        ParquetDataset.write(path, [], schema, write_mode="errorifexists")
    with pytest.raises(InvalidInputError, match="write_mode cannot be 'append'"):
        ParquetDataset.write(path, [], schema, write_mode="append")


def test_blocks_are_shards(spark, mnist, tmp_path):
    images, labels, expected = mnist
    path = str(tmp_path / "out")
    write_mnist(images, labels, path, block_size=2)
    shards = ParquetDataset.read_as_xshards(path).collect()
    assert [len(one["label"]) for one in shards] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([one["image"] for one in shards]), expected)
    first = ParquetDataset.read_as_torch(path).first()
    assert first["x"].shape == (2, 4, 4) and first["y"].tolist() == [0, 1]
