"""TensorFlow 2: Keras models, under Orca's original import path.

Importing TensorFlow decides which Keras ``from tensorflow import keras`` means. Here it is Keras 2
(tf_keras), on the driver and the workers, because Orca's programs are written for it. The
environment variable ``TF_USE_LEGACY_KERAS=0`` chooses Keras 3.
"""

import os
import sys

from zoo.orca.learn.tf2.estimator import Estimator

if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

__all__ = ["Estimator"]
