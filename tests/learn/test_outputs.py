"""Which column an output becomes: by name where names say it, by position where they cannot."""

import pytest

from zoo.orca.errors import InvalidInputError, ModelError
from zoo.orca.learn.outputs import asks_for_whole, prediction_columns
from zoo.orca.wire.outputs import OutputSpec


def output(name, **flags):
    return OutputSpec(name=name, dtype="float32", row_shape=(), **flags)


ONE = [output("dense_3")]
LIST = [output("dense_3"), output("score", named=True)]
DICT = [output(name, named=True, keyed=True) for name in ("click", "rating")]


def test_names_of_their_own():
    assert prediction_columns(ONE, None) == ["prediction"]
    assert prediction_columns(LIST, None) == ["prediction_0", "prediction_score"]
    assert prediction_columns(DICT, None) == ["prediction_click", "prediction_rating"]


def test_names_that_are_the_outputs_are_matched():
    assert prediction_columns(DICT, ["rating", "click"]) == ["click", "rating"]
    assert prediction_columns(LIST, ["score", "dense_3"]) == ["dense_3", "score"]


def test_other_names_go_by_the_order_of_a_list():
    assert prediction_columns(LIST, ["a", "b"]) == ["a", "b"]
    assert prediction_columns(ONE, "a") == ["a"]
    assert prediction_columns([DICT[0]], ["a"]) == ["a"]


def test_the_one_column_of_several_outputs_is_beside_those_of_each():
    for name in ("prediction", ["prediction"]):
        assert prediction_columns(DICT, name) == ["prediction_click", "prediction_rating"]
        assert asks_for_whole(DICT, name) and not asks_for_whole(ONE, name)
    assert prediction_columns(ONE, "prediction") == ["prediction"]
    assert not asks_for_whole(DICT, None) and not asks_for_whole(DICT, ["a", "b"])


def test_a_dict_says_which_is_which():
    assert prediction_columns(DICT, {"rating": "stars", "click": "p"}) == ["p", "stars"]


def test_other_names_for_a_dict_of_outputs_are_refused_with_the_dict_to_write():
    with pytest.raises(InvalidInputError) as caught:
        prediction_columns(DICT, ["my_rating", "my_click"])
    first, second = str(caught.value).splitlines()
    assert "['click', 'rating']" in first and "['my_rating', 'my_click']" in first
    written = {"click": "my_click", "rating": "my_rating"}
    assert second.endswith(f"output_cols={written}")
    assert prediction_columns(DICT, written) == ["my_click", "my_rating"]


@pytest.mark.parametrize(
    "names", [["a"], ["a", "b", "c"], {"click": "a"}, {"x": "a", "click": "b"}]
)
def test_names_that_do_not_fit(names):
    with pytest.raises(InvalidInputError, match="click"):
        prediction_columns(DICT, names)


def test_an_output_that_is_no_prediction():
    with pytest.raises(ModelError, match="^it is not$"):
        prediction_columns([*ONE, output("loss", problem="it is not")], None)
