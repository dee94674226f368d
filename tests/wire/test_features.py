"""The columns of a job."""

import pickle

import pytest

from zoo.orca.wire.features import ColumnSpec, FeatureSpec, fill_shapes

pytestmark = pytest.mark.timeout(120)

USER, ITEM, VECTOR = (
    ColumnSpec(name="user", dtype="int32"),
    ColumnSpec(name="item", dtype="int64"),
    ColumnSpec(name="v", dtype="float32", shape=(None,)),
)


def test_columns_come_once_in_the_order_features_labels_weight():
    spec = FeatureSpec(
        features=(ITEM, VECTOR, ITEM),
        labels=(USER, VECTOR),
        weight=ColumnSpec(name="w", dtype="float32"),
    )
    assert [column.name for column in spec.columns] == ["item", "v", "user", "w"]


def test_a_weight_that_is_a_feature_too_comes_once():
    assert FeatureSpec(features=(USER, ITEM), weight=ITEM).columns == (USER, ITEM)


def test_fill_shapes_fills_every_role():
    spec = FeatureSpec(
        features=(USER, VECTOR),
        labels=(VECTOR,),
        feature_keys=("a", "b"),
        label_keys=("c",),
        weight=USER,
    )
    filled = fill_shapes(spec, {"v": (3,)})
    vector = ColumnSpec(name="v", dtype="float32", shape=(3,))
    assert filled == FeatureSpec(
        features=(USER, vector),
        labels=(vector,),
        feature_keys=("a", "b"),
        label_keys=("c",),
        weight=USER,
    )


def test_fill_shapes_leaves_what_is_not_known():
    spec = FeatureSpec(features=(USER, VECTOR))
    assert fill_shapes(spec, {}) == spec


def test_specs_can_be_pickled():
    spec = FeatureSpec(features=(USER,), labels=(VECTOR,))
    assert pickle.loads(pickle.dumps(spec)) == spec
