"""An estimator as a table."""

import numpy as np

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.wire.packing import State


def test_an_estimator_shows_what_it_is_and_how_far_it_has_come():
    est = FakeEstimator.of(linear(2), workers=3)
    html = est._repr_html_()
    assert "<th>workers</th><td>3</td>" in html and "<td>not yet</td>" in html
    column = {"name": "<b>", "dtype": "float32", "shape": [None, 4], "parts": []}
    est._adopt(
        State(
            {"weights/w": np.zeros((3, 4), np.float32), "optimizer/m": np.zeros(2)},
            {
                "epoch": 2,
                "step": 1500,
                "columns": {
                    "features": [column],
                    "labels": [],
                    "feature_keys": None,
                    "label_keys": None,
                },
            },
        )
    )
    html = est._repr_html_()
    assert "<td>2 epochs, 1,500 steps</td>" in html and "<td>12 numbers</td>" in html
    assert "<th>state</th><td>64 bytes</td>" in html
    assert "&lt;b&gt;: float32 (any, 4)" in html and "<b>" not in html
