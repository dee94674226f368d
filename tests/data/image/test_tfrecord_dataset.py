"""ImageNet as records: what is written is read by TensorFlow, and damage is named."""

import io
import shutil

import numpy as np
import pytest

from zoo.orca.data.file import get_remote_dir_to_local
from zoo.orca.data.image import read_tfrecord, write_imagenet, write_tfrecord
from zoo.orca.errors import DataError, InvalidInputError

Image = pytest.importorskip("PIL.Image")
tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.timeout(280)

CLASSES = ("n01", "n03", "n02")


def packed(mode, colour, kind="JPEG"):
    """The bytes of a picture, 3 wide and 2 high."""
    stream = io.BytesIO()
    Image.new(mode, (3, 2), colour).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def extracted(tmp_path):
    """A directory as the archives make it: three pictures of two classes, two of a third."""
    root = tmp_path / "in"
    for number in range(6):
        folder = root / "train" / CLASSES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.JPEG").write_bytes(packed("RGB", (number * 40, 0, 0)))
    (root / "train" / "n01" / "notes.txt").write_text("no picture")
    (root / "validation").mkdir()
    for number in range(2):
        (root / "validation" / f"{number}.JPEG").write_bytes(packed("RGB", (0, number * 90, 0)))
    (root / "synset_labels.txt").write_text("n02\nn01\n")
    return root


def rows(path, is_training):
    """The features of each record, and its file's name first."""
    found = []
    for record in read_tfrecord("imagenet", str(path), is_training=is_training):
        features = tf.train.Example.FromString(record.numpy()).features.feature
        values = {name: one.WhichOneof("kind") for name, one in features.items()}
        found.append({name: getattr(features[name], values[name]).value[0] for name in values})
    return found


def test_what_is_written_is_read(extracted, tmp_path):
    out = tmp_path / "out"
    write_tfrecord("imagenet", str(out), str(extracted), training_files=4, validation_files=1)
    training = rows(out, True)
    assert {row["image/filename"] for row in training} == {b"%d.JPEG" % n for n in range(6)}
    numbers = {"n01": 1, "n02": 2, "n03": 3}
    for row in training:
        number = int(row["image/filename"][:1])
        synset = CLASSES[number % 2]
        data = (extracted / "train" / synset / f"{number}.JPEG").read_bytes()
        assert row == {
            "image/height": 2,
            "image/width": 3,
            "image/colorspace": b"RGB",
            "image/channels": 3,
            "image/class/label": numbers[synset],
            "image/class/synset": synset.encode(),
            "image/format": b"JPEG",
            "image/filename": b"%d.JPEG" % number,
            "image/encoded": data,
        }
    validation = rows(out / "validation", False)
    assert [row["image/class/synset"] for row in validation] == [b"n02", b"n01"]
    assert [row["image/filename"] for row in validation] == [b"0.JPEG", b"1.JPEG"]
    assert {path.name: path.stat().st_size > 0 for path in (out / "train").glob("train-*")} == {
        f"train-{number:05d}-of-00004": True for number in range(4)
    }


def test_records_become_pairs_in_an_order_that_no_machine_changes(extracted, tmp_path):
    from zoo.orca.frameworks.creators.of_tensorflow import is_own  # it imports TensorFlow

    write_imagenet(str(extracted), str(tmp_path), training_files=3, validation_files=1)
    kinds = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    }

    def pair(record):
        found = tf.io.parse_single_example(record, kinds)
        return tf.io.decode_jpeg(found["image/encoded"], channels=3), found["image/class/label"]

    def plain(data):
        return [(points.tolist(), int(label)) for points, label in data.as_numpy_iterator()]

    files = [str(tmp_path / "train" / f"train-{part:05d}-of-00003") for part in range(3)]
    parts = [plain(tf.data.TFRecordDataset(file).map(pair)) for file in files]
    assert [len(part) for part in parts] == [2, 2, 2]
    # In turns: the first record of each file, then the second of each.
    expected = [part[place] for place in range(2) for part in parts]
    read = read_tfrecord("imagenet", str(tmp_path), True).map(pair)
    assert plain(read) == expected
    # So each worker keeps every n-th batch of what a creator returns, and together they have all.
    assert not is_own(read)
    both = [plain(read.shard(2, rank)) for rank in range(2)]
    assert [one for pairs in zip(*both, strict=True) for one in pairs] == expected


def test_it_is_the_same_each_time_and_older_files_go(extracted, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    write_imagenet(str(extracted), str(other), training_files=3, validation_files=2)
    for path in (one, other):
        write_imagenet(str(extracted), str(path), training_files=2, validation_files=1)
    assert rows(one, True) == rows(other, True) and rows(one, False) == rows(other, False)
    assert sorted(path.name for path in (other / "train").glob("train-*")) == [
        "train-00000-of-00002",
        "train-00001-of-00002",
    ]


def test_one_of_the_two_directories_is_enough(extracted, tmp_path):
    shutil.rmtree(extracted / "validation")
    write_imagenet(str(extracted), str(tmp_path / "out"), training_files=1)
    assert len(rows(tmp_path / "out", True)) == 6
    with pytest.raises(InvalidInputError, match="there are no files validation-00000-of-"):
        read_tfrecord("imagenet", str(tmp_path / "out"), is_training=False)
    with pytest.raises(InvalidInputError, match="has neither train nor validation"):
        write_imagenet(str(tmp_path / "out" / "train"), str(tmp_path / "again"))


@pytest.mark.parametrize(
    ("data", "mean"),
    [
        (packed("RGB", (200, 100, 50), "PNG"), [200, 100, 50]),
        (packed("CMYK", (0, 0, 0, 155)), [100, 100, 100]),
        (packed("L", 70), [70, 70, 70]),
    ],
    ids=["PNG", "CMYK", "grey"],
)
def test_what_is_no_jpeg_of_colours_is_read_as_one(extracted, tmp_path, data, mean):
    shutil.rmtree(extracted / "validation")
    shutil.rmtree(extracted / "train" / "n03")
    for number in (0, 2, 4):
        (extracted / "train" / "n01" / f"{number}.JPEG").write_bytes(data)
    write_imagenet(str(extracted), str(tmp_path / "out"), training_files=1)
    for row in rows(tmp_path / "out", True):
        points = tf.io.decode_jpeg(row["image/encoded"], channels=3).numpy()
        assert points.shape == (2, 3, 3)
        np.testing.assert_allclose(points.mean((0, 1)), mean, atol=2)
        assert (row["image/encoded"] == data) == (mean == [70, 70, 70])


def test_damaged_files_are_named(extracted, tmp_path):
    out = tmp_path / "out"
    write_imagenet(str(extracted), str(out), training_files=2, validation_files=1)
    first = out / "train" / "train-00000-of-00002"
    whole = first.read_bytes()
    size = 12 + int.from_bytes(whole[:8], "little") + 4
    # Between two records: TensorFlow alone would read fewer of them and say nothing.
    first.write_bytes(whole[:size])
    with pytest.raises(
        InvalidInputError, match=r"train-00000-of-00002 is damaged: it has .* bytes"
    ):
        read_tfrecord("imagenet", str(out), is_training=True)
    first.write_bytes(whole[:size] + bytes(len(whole) - size))
    with pytest.raises(tf.errors.DataLossError, match="corrupted record"):
        rows(out, True)
    first.unlink()
    with pytest.raises(InvalidInputError, match="lacks 1 of 2 files, such as train-00000-of-00002"):
        read_tfrecord("imagenet", str(out), is_training=True)
    first.write_bytes(whole)
    assert len(rows(out, True)) == 6
    (out / "train" / "train-00000-of-00001").write_bytes(whole)
    with pytest.raises(InvalidInputError, match="has files of 2 sets: -of-00001, -of-00002"):
        read_tfrecord("imagenet", str(out), is_training=True)


def test_files_of_another_program_are_read(extracted, tmp_path):
    write_imagenet(str(extracted), str(tmp_path / "out"), training_files=2)
    expected = rows(tmp_path / "out", True)
    (tmp_path / "out" / "train" / "_orca_metadata").unlink()
    assert rows(tmp_path / "out" / "train", True) == expected


def test_a_url_that_tensorflow_does_not_know_is_copied_first(extracted, tmp_path):
    pytest.importorskip("fsspec")
    url, here = f"memory:/{tmp_path}/out", str(tmp_path / "here")
    write_imagenet(str(extracted), url, training_files=2, validation_files=1)
    with pytest.raises(
        InvalidInputError, match=r"TensorFlow cannot read memory:.*\nCopy the files"
    ):
        read_tfrecord("imagenet", url, is_training=True)
    get_remote_dir_to_local(url, here)
    write_imagenet(str(extracted), str(tmp_path / "out"), training_files=2, validation_files=1)
    for is_training in (True, False):
        assert rows(here, is_training) == rows(tmp_path / "out", is_training)


def test_a_damaged_picture_is_named(extracted, tmp_path):
    path = extracted / "train" / "n03" / "3.JPEG"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="3.JPEG is no picture"):
        write_imagenet(str(extracted), str(tmp_path / "out"), training_files=1)
    with pytest.raises(InvalidInputError, match="there are no files train-"):
        read_tfrecord("imagenet", str(tmp_path / "out"), is_training=True)
    path.unlink()
    write_imagenet(str(extracted), str(tmp_path / "out"), training_files=1)
    assert len(rows(tmp_path / "out", True)) == 5


def test_what_cannot_be_written_or_read_is_refused(extracted, tmp_path):
    source, out = str(extracted), str(tmp_path / "out")
    (extracted / "synset_labels.txt").write_text("n02\n")
    with pytest.raises(InvalidInputError, match="validation has 2 pictures, .* 1 labels"):
        write_imagenet(source, out)
    with pytest.raises(InvalidInputError, match="training_files cannot be 0"):
        write_imagenet(source, out, training_files=0)
    with pytest.raises(InvalidInputError, match="format cannot be 'coco'\nIt is 'imagenet'"):
        write_tfrecord("coco", out, source)
    with pytest.raises(InvalidInputError, match="format cannot be 'coco'"):
        read_tfrecord("coco", out)
    with pytest.raises(InvalidInputError, match="is_training cannot be 'validation'"):
        read_tfrecord("imagenet", out, "validation")
    for path in (extracted / "validation").iterdir():
        path.unlink()
    with pytest.raises(InvalidInputError, match="there are no files .JPEG in .*validation"):
        write_imagenet(source, out)
