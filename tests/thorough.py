"""Tests that repeat, on one more backend, what the suite shows on others.

Keras 3 on TensorFlow is Keras 2 on TensorFlow in all but Keras's own code, and Keras 3 on torch is
Keras 3 on JAX in what it makes of columns, states and models. The suite runs the equalities and the
training of each. The rest runs too where the suite is run with ``--thorough``, and where a test is
named.
"""

import pytest

#: What each backend makes for itself: its steps, and the numbers that come of them.
_OF_EACH = ("test_equalities.py", "test_order.py", "test_callbacks.py", "test_row_axis.py")


def is_thorough(item: pytest.Item) -> bool:
    """Whether a test is left to a thorough run."""
    if item.get_closest_marker("thorough") is not None:
        return True
    callspec = getattr(item, "callspec", None)
    family = None if callspec is None else callspec.params.get("bench")
    if item.path.name in _OF_EACH:
        return False
    of_keras_alone = "keras_bench" in getattr(item, "fixturenames", ())
    return family == "keras-tensorflow" or (family == "keras-torch" and of_keras_alone)
