"""The last finder of imports: for a module of the original that is gone, one error with a way out.

It comes after all others, so that a module that exists is found as ever.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import ClassVar

from zoo.orca.errors import MissingPackageError

_KERAS = "Use zoo.orca.learn.tf2.Estimator.from_keras, or zoo.orca.learn.keras for Keras 3"
_TORCH = "Use zoo.orca.learn.pytorch.Estimator.from_torch, which needs no other backend"
_NO_RAY = "Leave it out: workers are tasks of Spark, and nothing else needs to run"
_SEARCH = "Use Optuna, or Spark's CrossValidator, around fit and evaluate"
_SPARK_ML = "Use zoo.orca.ml for stages of Spark ML; else zoo.orca.learn.tf2, .keras or .pytorch"


class GoneModules(MetaPathFinder):
    """Refuses modules of the original by name.

    Attributes
    ----------
    instead : dict of str to str
        For each module, which stands for all below it, what to use.
    """

    instead: ClassVar[dict[str, str]] = {
        "zoo.orca.learn.bigdl": _TORCH,
        "zoo.orca.learn.tf": _KERAS,
        "zoo.orca.learn.mxnet": _TORCH,
        "zoo.orca.learn.mpi": _TORCH,
        "zoo.orca.learn.horovod": _TORCH,
        "zoo.orca.learn.dl_cluster": _TORCH,
        "zoo.orca.learn.ray_estimator": _TORCH,
        "zoo.orca.learn.openvino": "Use OpenVINO in a function of Spark's mapInArrow",
        "zoo.orca.learn.optimizers": "Use the framework's own optimizers and schedules",
        "zoo.orca.learn.pytorch.experimental": _TORCH,
        "zoo.orca.ray": _NO_RAY,
        "zoo.orca.data.ray_xshards": _NO_RAY,
        "zoo.orca.data.elastic_search": "Read it with Spark's connector: spark.read.format('es')",
        "zoo.orca.automl.xgboost": "Use xgboost.spark, and Optuna around its estimators",
        "zoo.orca.automl.metrics": "Name a metric that the model is compiled or made with",
        "zoo.orca.automl.model": "Use zoo.orca.automl.auto_estimator with a model_creator",
        "zoo.orca.automl.pytorch_utils": 'Write the learning rate\'s name, "lr", yourself',
        "zoo.automl": _SEARCH,
        "zoo.ray": _NO_RAY,
        "zoo.tfpark": _KERAS,
        "zoo.pipeline": _SPARK_ML,
        "zoo.models": _SPARK_ML,
        "zoo.feature": "Use Spark's DataFrames, and their columns as feature_cols",
        "zoo.chronos": "Write the forecaster as a model, for zoo.orca.learn.pytorch",
        "zoo.friesian": "Use Spark's DataFrames, and their columns as feature_cols",
        "zoo.serving": "Serve the model that save writes with the framework's own server",
    }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Raise for a module that is gone; find none."""
        way = self.instead.get(fullname)
        if way is not None:
            raise MissingPackageError(f"{fullname} of the original is not here\n{way}")


def tell_of_gone_modules() -> None:
    """Let imports of the original's other modules say what to use."""
    if not any(isinstance(one, GoneModules) for one in sys.meta_path):
        sys.meta_path.append(GoneModules())
