"""A padded column and its mask reach every framework's model: by position and by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.frameworks.bench import Bench
from tests.frameworks.families import FAMILIES
from tests.frameworks.ranks import predict_job, predicted
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.padding import Padding
from zoo.orca.worker.rows.dataset import batch_columns

pytestmark = pytest.mark.timeout(300)

ITEMS = [[1.0, 2.0], [], [3.0], [4.0, 5.0, 6.0, 7.0]]
LENGTH = 3


def summed(config: dict[str, Any]) -> Any:
    """A model of items and is_item: the sum of the items that are no padding."""
    if "keras" in config:
        from tests.frameworks.models import keras_of

        keras = keras_of(config)
        inputs = [keras.Input((LENGTH,), name=name) for name in ("items", "is_item")]
        return keras.Model(inputs, keras.layers.Dot(1)(inputs))
    import torch

    class Sum(torch.nn.Module):
        def forward(self, items: Any, is_item: Any) -> Any:
            assert is_item.dtype == torch.bool
            return (items * is_item).sum(1, keepdim=True)

    return Sum()


@pytest.mark.parametrize("by_name", [False, True])
def test_the_mask_is_an_input_of_its_own(bench: Bench, by_name: bool) -> None:
    if bench.family is FAMILIES["keras-tensorflow"]:
        pytest.skip("Keras 3 and TensorFlow are tried apart")
    padding = Padding(value=-100.0, keep="last")
    name = "history" if by_name else "items"
    features = [
        ColumnSpec(name=name, dtype="float32", shape=(LENGTH,), padding=padding),
        ColumnSpec(name="is_item", dtype="bool", shape=(LENGTH,), mask_of=name),
    ]
    keys = ["items", "is_item"]
    if by_name:  # a dict has no order
        features, keys = features[::-1], keys[::-1]
    spec = FeatureSpec(features=tuple(features), feature_keys=tuple(keys) if by_name else None)
    rows = batch_columns(pa.record_batch([pa.array(ITEMS, pa.list_(pa.float32()))], ["c0"]), spec)
    job = predict_job(
        bench.family.of_model(summed),
        spec,
        config=bench.config(),
        framework=bench.family.framework,
    )
    outputs, _ = bench.ranks.alone(predicted, job, rows)
    expected = [sum(one[-LENGTH:]) for one in ITEMS]
    np.testing.assert_allclose(np.ravel(outputs[0]), expected)
