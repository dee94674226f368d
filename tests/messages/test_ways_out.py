"""What the second lines say to write is written, and works."""

import ast
import re

import pytest
from pyspark.sql import functions as F

from tests.messages.model_cases import of_inputs
from tests.messages.world import FRAMEWORKS, World
from zoo.orca.errors import OrcaError

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


@pytest.fixture(scope="module", params=FRAMEWORKS)
def world(request, spark, tmp_path_factory):
    """One framework after another: children stay warm."""
    return World(spark, request.param, tmp_path_factory.mktemp("ways"))


def second_line(world, estimator, frame, columns):
    with pytest.raises(OrcaError) as caught:
        world.fit(estimator, data=frame, feature_cols=columns)
    return str(caught.value).splitlines()[1]


def test_columns_are_put_into_one_input(world):
    estimator = of_inputs(world, (3,))
    way = second_line(world, estimator, world.frame, ["x", "y", "label"])
    columns = ast.literal_eval(re.search(r"feature_cols=(\[\[.*?\]\])", way)[1])
    assert columns == [["x", "y", "label"]]
    world.fit(estimator, feature_cols=columns)
    predicted = estimator.predict(world.frame)
    assert predicted.where("prediction is null").count() == 0 and predicted.count() == 40


def test_a_binary_column_is_decoded(world):
    estimator = of_inputs(world, (8,))
    frame = world.frame.withColumn("picture", F.encode(F.lpad("user", 8, " "), "utf-8"))
    way = second_line(world, estimator, frame, ["picture"])
    there = {"F": F, "df": frame}
    for line in re.fullmatch(r"Decode it: (decode = .*); (df = .*?) makes .*", way).groups():
        exec(line, there)
    world.fit(estimator, data=there["df"], feature_cols=["picture"])
    row = there["df"].select("picture").first()[0]
    assert row == pytest.approx([byte / 255 for byte in b"  user 0"], rel=1e-6)
