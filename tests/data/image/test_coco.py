"""Pictures of COCO with what is in them, and annotations that do not fit them."""

import io
import json

import numpy as np
import pytest

from zoo.orca.data.image import read_coco
from zoo.orca.errors import InvalidInputError

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.timeout(120)

POLYGON, RUNS = [[1.0, 1.0, 2.0, 2.0, 1.0, 2.0]], {"counts": [4, 2], "size": [2, 3]}
OBJECTS = [
    {
        "id": place,
        "image_id": image,
        "bbox": [0.5, 1.0, 2.0, 1.0 + place],
        "category_id": 10 + place,
        "area": 1.5,
        "iscrowd": crowd,
        "segmentation": RUNS if crowd else POLYGON,
    }
    for place, (image, crowd) in enumerate([(7, 0), (3, 0), (7, 1)])
]


@pytest.fixture
def coco(tmp_path):
    """Three pictures, of which the last has no object and the first is grey."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    for number, mode in ((7, "L"), (3, "RGB"), (5, "RGB")):
        stream = io.BytesIO()
        Image.new(mode, (3, 2), number if mode == "L" else (number,) * 3).save(stream, "PNG")
        (tmp_path / "val2017" / f"{number:012d}.jpg").write_bytes(stream.getvalue())
    write(tmp_path)
    return tmp_path


def write(root, annotations=OBJECTS, numbers=(7, 3, 5)):
    images = [{"id": number, "file_name": f"{number:012d}.jpg"} for number in numbers]
    said = json.dumps({"images": images, "annotations": annotations})
    (root / "annotations" / "instances_val2017.json").write_text(said)


def test_pictures_with_their_objects(spark, coco):
    shards = read_coco(f"{coco}/", "val").collect()
    assert [np.asarray(picture)[0, 0].tolist() for picture, _ in shards] == [
        [number] * 3 for number in (7, 3, 5)
    ]
    assert [target for _, target in shards] == [
        {
            "bbox": [[0.5, 1.0, 2.0, 1.0], [0.5, 1.0, 2.0, 3.0]],
            "category_id": [10, 12],
            "area": [1.5, 1.5],
            "iscrowd": [0, 1],
            "segmentation": [POLYGON, RUNS],
        },
        {
            "bbox": [[0.5, 1.0, 2.0, 2.0]],
            "category_id": [11],
            "area": [1.5],
            "iscrowd": [0],
            "segmentation": [POLYGON],
        },
        {"bbox": [], "category_id": [], "area": [], "iscrowd": [], "segmentation": []},
    ]


def test_what_does_not_fit_is_named(coco):
    def refused(said):
        return pytest.raises(InvalidInputError, match=said)

    with refused("there is no file .*instances_train2017.json"):
        read_coco(str(coco))
    write(coco, numbers=(7, 3, 5, 9))
    with refused("there is no picture .*val2017/000000000009.jpg"):
        read_coco(str(coco), "val")
    write(coco, numbers=(7, 5))
    with refused("describes no picture 3"):
        read_coco(str(coco), "val")
    write(coco, numbers=(7, 3, 5, 7))
    with refused("has several images of one id"):
        read_coco(str(coco), "val")
    write(coco, annotations=[], numbers=())
    with refused("has no images"):
        read_coco(str(coco), "val")
    write(coco, annotations=[{**OBJECTS[0], "image_id": 3}, {"id": 1, "image_id": 3}])
    with refused("is no file of COCO's instances: it lacks 'bbox'"):
        read_coco(str(coco), "val")
    path = coco / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text()[:50])
    with refused("instances_val2017.json is damaged"):
        read_coco(str(coco), "val")
