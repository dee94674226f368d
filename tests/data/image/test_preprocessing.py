"""Files of pictures as shards, in the order of their paths."""

import io
import struct

import numpy as np
import pytest

from zoo.orca.data.image import read_images, read_voc
from zoo.orca.errors import DataError, InvalidInputError, OrcaError
from zoo.orca.worker.shards.pictures import picture

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.timeout(120)

XML = """<annotation><object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax>
<ymax>4</ymax></bndbox></object></annotation>"""


def write(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    Image.new("L", (3, 2), shade).save(stream, "PNG")
    path.write_bytes(stream.getvalue())


def number_of(path):
    return int(path.rpartition("/")[2].partition(".")[0])


def test_pictures_with_labels_and_targets(spark, tmp_path):
    for number in range(5):
        write(tmp_path / "in" / f"{number % 2}" / f"{number}.jpg", number)
        write(tmp_path / "out" / f"{number}.png", 100 + number)
    write(tmp_path / "in" / "other.gif", 7)
    order = [0, 2, 4, 1, 3]
    plain = read_images(str(tmp_path / "in"))
    assert [np.asarray(one)[0, 0] for one in plain.collect()] == order
    labelled = read_images(str(tmp_path / "in"), label_func=number_of).collect()
    assert [label for _, label in labelled] == order
    pairs = read_images(str(tmp_path / "in"), target_path=str(tmp_path / "out"))
    assert [np.asarray(target)[0, 0] for _, target in pairs.collect()] == [100 + n for n in order]


def test_a_file_that_is_no_picture_is_named(spark, tmp_path):
    write(tmp_path / "0.jpg", 1)
    (tmp_path / "1.jpg").write_text("no picture")
    with pytest.raises(OrcaError, match="shard 1: .*1.jpg is no picture"):
        read_images(str(tmp_path)).collect()


def test_whatever_is_damaged_in_a_file_it_is_named():
    stream = io.BytesIO()
    points = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(points).save(stream, "PNG")
    whole = stream.getvalue()
    assert np.array_equal(np.asarray(picture(whole)), points)
    second = whole.index(b"IDAT", whole.index(b"IDAT") + 4)
    size = whole.index(b"IHDR") + 4
    for damaged in (
        whole[:second],
        whole[:second] + b"\xf4DAT" + whole[second + 4 :],
        whole[:size] + struct.pack(">2i", 100_000, 100_000) + whole[size + 8 :],
        b"",
    ):
        with pytest.raises(DataError, match="some.png is no picture: .*\nLeave such files out"):
            picture(damaged, "some.png")


def test_what_cannot_be_read_is_refused(tmp_path):
    write(tmp_path / "0.jpg", 1)
    for said, arguments in {
        "backend cannot be 'cv2'": {"backend": "cv2"},
        "there are no files .bmp": {"image_type": ".bmp"},
        "either a label or a target": {"label_func": len, "target_path": str(tmp_path)},
    }.items():
        with pytest.raises(InvalidInputError, match=said):
            read_images(str(tmp_path), **arguments)


def test_pictures_with_boxes(spark, tmp_path):
    base = tmp_path / "VOC2007"
    for name in ("ImageSets/Main", "Annotations"):
        (base / name).mkdir(parents=True)
    (base / "ImageSets/Main/trainval.txt").write_text("a\n")
    write(base / "JPEGImages/a.jpg", 5)
    (base / "Annotations/a.xml").write_text(XML)
    splits = [(2007, "trainval")]
    ((picture, boxes),) = read_voc(str(tmp_path), splits).collect()
    # Shares of the picture's width and height, as in the original.
    assert picture.size == (3, 2)
    np.testing.assert_allclose(boxes, [[1 / 3, 2 / 2, 3 / 3, 4 / 2, 11]], rtol=1e-6)
    ((_, boxes),) = read_voc(str(tmp_path), splits, diff=True, max_samples=1).collect()
    assert boxes[:, 4:].tolist() == [[11, 0]]
    ((_, boxes),) = read_voc(str(tmp_path), splits, classes=["cat"]).collect()
    assert boxes.shape == (0, 5)
