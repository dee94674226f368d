"""Calls with creators that cannot work are refused before anything starts."""

import functools

import numpy as np
import pandas as pd
import pytest

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.forms.creators import check_share, creators_of, is_creator
from zoo.orca.learn.forms.form import Columns


def loader(config, batch_size):
    return [(np.zeros((batch_size, 4)), np.zeros(batch_size))]


def refused(data, validation=None, columns=None):
    with pytest.raises(InvalidInputError) as caught:
        creators_of(data, validation, columns or Columns(), None)
    return str(caught.value)


class Loaders:
    def __call__(self, config, batch_size):
        return loader(config, batch_size)


def test_everything_that_can_be_called_is_a_creator():
    for one in (loader, functools.partial(loader), Loaders(), lambda config, batch_size: None):
        assert is_creator(one)
        assert creators_of(one, one, Columns(), {"a": 1}) is not None
    assert creators_of(pd.DataFrame({"x": [1]}), None, Columns(), None) is None


def test_columns_are_not_for_creators():
    for columns, name in ((Columns(["x"]), "feature_cols"), (Columns(None, "y"), "label_cols")):
        cause, way = refused(loader, columns=columns).split("\n")
        assert cause.startswith(name) and way.startswith("Leave it out")


def test_a_creator_and_a_frame_do_not_go_together():
    frame = pd.DataFrame({"x": [1]})
    cause, way = refused(loader, frame).split("\n")
    assert cause == "data is a creator, and validation_data is a DataFrame"
    assert way.startswith("Pass a creator for validation_data")
    assert refused(frame, loader).startswith("validation_data is a creator, and data is a DataFra")


def test_other_arguments_are_told():
    cause, way = refused(lambda config: None).split("\n")
    assert "which does not take (config, batch_size)" in cause
    assert "functools.partial" in way
    assert refused(lambda config, batch_size, path: None)
    assert creators_of(
        functools.partial(lambda path, config, batch_size: None, "x"), None, Columns(), None
    )


def test_every_worker_has_a_share():
    check_share(2, 2)
    with pytest.raises(InvalidInputError, match=r"batch_size=1 is less(.|\n)*Pass batch_size=2"):
        check_share(1, 2)
