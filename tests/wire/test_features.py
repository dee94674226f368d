"""The columns of a job."""

import pickle

import pytest

from zoo.orca.wire.features import ColumnSpec, FeatureSpec, fill_shapes

pytestmark = pytest.mark.timeout(120)

USER, ITEM, VECTOR = (
    ColumnSpec("user", "int32"),
    ColumnSpec("item", "int64"),
    ColumnSpec("v", "float32", (None,)),
)


def test_columns_come_once_in_the_order_features_labels_weight():
    spec = FeatureSpec((ITEM, VECTOR, ITEM), (USER, VECTOR), weight=ColumnSpec("w", "float32"))
    assert [column.name for column in spec.columns] == ["item", "v", "user", "w"]


def test_a_weight_that_is_a_feature_too_comes_once():
    assert FeatureSpec((USER, ITEM), weight=ITEM).columns == (USER, ITEM)


def test_fill_shapes_fills_every_role():
    spec = FeatureSpec((USER, VECTOR), (VECTOR,), ("a", "b"), ("c",), USER)
    filled = fill_shapes(spec, {"v": (3,)})
    vector = ColumnSpec("v", "float32", (3,))
    assert filled == FeatureSpec((USER, vector), (vector,), ("a", "b"), ("c",), USER)


def test_fill_shapes_leaves_what_is_not_known():
    spec = FeatureSpec((USER, VECTOR))
    assert fill_shapes(spec, {}) == spec


def test_specs_can_be_pickled():
    spec = FeatureSpec((USER,), (VECTOR,))
    assert pickle.loads(pickle.dumps(spec)) == spec
