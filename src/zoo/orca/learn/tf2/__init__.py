"""TensorFlow 2: Keras models, under Orca's original import path.

Which Keras ``from tensorflow import keras`` means is fixed when TensorFlow is imported: here it is
Keras 2 (tf_keras), which Orca's programs are written for, on the driver as on the workers, unless
the environment says ``TF_USE_LEGACY_KERAS=0``.
"""

import os
import sys

from zoo.orca.learn.tf2.estimator import Estimator

if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

__all__ = ["Estimator"]
